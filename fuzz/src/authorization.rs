//! `Authorization` (RFC 6750 §2, RFC 9449 §7.1). The first line is the query, others are fields; `@` begins a `DPoP` field.

use http::{HeaderMap, HeaderName, HeaderValue, header};
use keybound::request::{Credentials, LastShown, ProofField, Scheme};

const DPOP: HeaderName = HeaderName::from_static("dpop");

pub fn run(data: &[u8]) {
    let mut lines = data.split(|byte| *byte == b'\n');
    let query = lines.next().and_then(|line| std::str::from_utf8(line).ok()).unwrap_or_default();
    let (mut headers, mut fields, mut proofs) = (HeaderMap::new(), Vec::new(), 0);
    headers.insert(header::PROXY_AUTHORIZATION, HeaderValue::from_static("Basic eDp5"));
    for line in lines {
        let (name, value) = match line.strip_prefix(b"@") {
            Some(value) => (DPOP, value),
            None => (header::AUTHORIZATION, line),
        };
        let Ok(value) = HeaderValue::from_bytes(value) else { continue };
        if name == DPOP {
            proofs += 1
        } else {
            fields.push(value.clone())
        }
        headers.append(name, value);
    }
    let last = LastShown::default();
    let mut again = headers.clone();
    let taken = Credentials::take(&mut headers, Some(query), &last);
    assert!(headers.is_empty(), "nothing is left to be forwarded");
    let known = Credentials::take(&mut again, Some(query), &last);
    assert_eq!(taken.scheme, known.scheme);
    match (&taken.credentials, &known.credentials) {
        (Ok(one), Ok(two)) => assert!(one.token() == two.token() && one.scheme() == two.scheme()),
        (Err(one), Err(two)) => assert_eq!(one, two),
        _ => panic!("remembering changes no verdict"),
    }
    let wanted = if let [one] = &fields[..] { token68(one.as_bytes()) } else { None };
    match taken.credentials {
        Ok(credentials) => {
            let (scheme, token) = wanted.expect("one field with one token68");
            assert!(credentials.scheme() == scheme && credentials.token().as_bytes() == token);
            assert_eq!(credentials.authorization(), &fields[0]);
            let is_token = |name: &str| name.eq_ignore_ascii_case("access_token");
            assert!(!form_urlencoded::parse(query.as_bytes()).any(|(name, _)| is_token(&name)), "no second token");
            match credentials.proof() {
                ProofField::Absent => assert_eq!(proofs, 0),
                ProofField::One(_) => assert_eq!(proofs, 1),
                ProofField::Several => assert!(proofs > 1),
            }
        }
        Err(_) => {
            let plain = query.bytes().all(|byte| byte.is_ascii_lowercase() || matches!(byte, b'=' | b'&'));
            assert!(wanted.is_none() || !plain, "one token68, and a query without an underscore");
        }
    }
}

/// RFC 9110 §11.2 and §11.4, for our two schemes.
fn token68(field: &[u8]) -> Option<(Scheme, &[u8])> {
    let space = field.iter().position(|byte| *byte == b' ')?;
    let (name, rest) = field.split_at(space);
    let scheme = match name.to_ascii_lowercase().as_slice() {
        b"dpop" => Scheme::Dpop,
        b"bearer" => Scheme::Bearer,
        _ => return None,
    };
    let token = &rest[rest.iter().position(|byte| *byte != b' ')?..];
    let core = token.len() - token.iter().rev().take_while(|byte| **byte == b'=').count();
    let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~+/".contains(byte);
    (core > 0 && token[..core].iter().all(allowed)).then_some((scheme, token))
}
