//! Just enough of DER to take apart what others made, and to put it together differently.

use rustls::pki_types::CertificateDer;

pub const SEQUENCE: u8 = 0x30;
pub const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;

/// Tag, length and content.
pub fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len().to_be_bytes();
    let length = &length[length.iter().position(|byte| *byte != 0).unwrap_or(7)..];
    let length = if content.len() < 0x80 { length.to_vec() } else { [&[0x80 | length.len() as u8], length].concat() };
    [&[tag], &length[..], content].concat()
}

/// Where the content of the first element begins and ends.
fn bounds(bytes: &[u8]) -> (usize, usize) {
    let (start, length) = match bytes[1] {
        short @ 0..0x80 => (2, usize::from(short)),
        long => {
            let start = 2 + usize::from(long & 0x7F);
            (start, bytes[2..start].iter().fold(0, |length, byte| length << 8 | usize::from(*byte)))
        }
    };
    (start, start + length)
}

pub fn content(element: &[u8]) -> &[u8] {
    let (start, end) = bounds(element);
    &element[start..end]
}

/// What a constructed element consists of.
pub fn parts(whole: &[u8]) -> Vec<&[u8]> {
    let mut rest = content(whole);
    let mut parts = Vec::new();
    while !rest.is_empty() {
        let (part, behind) = rest.split_at(bounds(rest).1);
        parts.push(part);
        rest = behind;
    }
    parts
}

/// The same certificate without its version and its extensions, signed anew: X.509 version 1 (RFC 5280 §4.1.2.1).
pub fn version_1(certificate: &CertificateDer<'_>, issuer: &impl rcgen::SigningKey) -> CertificateDer<'static> {
    let whole = parts(certificate);
    let fields: Vec<&[u8]> = parts(whole[0]).into_iter().filter(|field| field[0] < 0xA0).collect();
    let signed = element(SEQUENCE, &fields.concat());
    let signature = element(BIT_STRING, &[&[0], &issuer.sign(&signed).unwrap()[..]].concat());
    element(SEQUENCE, &[&signed, whole[1], &signature].concat()).into()
}

pub fn pem(label: &str, der: &[u8]) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let lines: Vec<&str> = text.as_bytes().chunks(64).map(|line| str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

/// What the first block with this label holds.
pub fn from_pem(label: &str, text: &str) -> Vec<u8> {
    use base64::Engine as _;
    let (_, rest) = text.split_once(&format!("-----BEGIN {label}-----")).unwrap();
    let (body, _) = rest.split_once("-----END").unwrap();
    let body: String = body.split_whitespace().collect();
    base64::engine::general_purpose::STANDARD.decode(body).unwrap()
}

#[test]
fn what_is_taken_apart_can_be_put_together() {
    for length in [0, 1, 0x7F, 0x80, 0xFF, 0x100, 70_000] {
        let inner = element(INTEGER, &vec![7; length]);
        let whole = element(SEQUENCE, &[&inner[..], &inner].concat());
        assert_eq!(parts(&whole), [&inner[..], &inner]);
        assert_eq!(content(&inner).len(), length);
        assert_eq!(from_pem("X", &pem("X", &whole)), whole);
    }
}
