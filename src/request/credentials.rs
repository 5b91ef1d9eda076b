//! What the caller shows: taken out of the request, so that nothing later forwards it by accident.

use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::refusal::{Reason, Refusal};

const DPOP: HeaderName = HeaderName::from_static("dpop");

/// The authentication scheme that carries a token (RFC 9110 §11.1; names compare without case).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// RFC 6750.
    Bearer,
    /// RFC 9449 §7.1.
    Dpop,
}

impl Scheme {
    /// As it is written in a challenge.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Bearer => "Bearer",
            Self::Dpop => "DPoP",
        }
    }
}

/// The `DPoP` field of a request, not looked into yet: an error of the token comes first.
#[derive(Clone, PartialEq, Eq)]
pub enum ProofField {
    /// No field.
    Absent,
    /// One field line.
    One(HeaderValue),
    /// More than one line.
    Several,
}

/// One access token, the scheme it came under, and the proof that came along.
#[derive(Clone)]
pub struct Credentials {
    shown: Arc<Authorization>,
    authorization: HeaderValue,
    proof: ProofField,
}

/// An `Authorization` field, read.
struct Authorization {
    text: String,
    scheme: Scheme,
    token_at: usize,
    hash: OnceLock<[u8; 32]>,
}

/// What a connection showed last. Most clients show the same token with each request, and it needs to be read and hashed
/// once; whatever differs by a byte is read anew.
#[derive(Default)]
pub struct LastShown(Mutex<Option<Arc<Authorization>>>);

impl LastShown {
    /// Longer fields are not kept: a connection that rests should not weigh much.
    const MOST: usize = 4096;

    fn recall(&self, authorization: &HeaderValue) -> Option<Arc<Authorization>> {
        let last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        last.as_ref().filter(|shown| shown.text.as_bytes() == authorization.as_bytes()).map(Arc::clone)
    }

    fn remember(&self, shown: &Arc<Authorization>) {
        if shown.text.len() <= Self::MOST {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(shown));
        }
    }
}

/// What `Authorization` and the query hold, before it is known whether it is acceptable.
pub struct Taken {
    /// The scheme used, as far as one of ours was recognisable: it decides which challenge answers.
    pub scheme: Option<Scheme>,
    /// The credentials, or why there are none.
    pub credentials: Result<Credentials, Refusal>,
}

/// Whether what is refused would reach the API on a route where nobody looks at credentials: a token in the query, alone
/// or beside another, is none that was taken out.
pub fn lets_a_token_through(refusal: &Refusal) -> bool {
    matches!(refusal.reason(), Reason::TokenInQuery | Reason::CredentialsMultiple)
}

impl Credentials {
    /// Takes every credential field out of `headers`: `Authorization`, `Proxy-Authorization` and `DPoP`.
    /// Accepts exactly one way of sending exactly one token (RFC 6750 §2). Does not look into token or proof. `last` is
    /// the connection's.
    pub fn take(headers: &mut HeaderMap, query: Option<&str>, last: &LastShown) -> Taken {
        let (authorization, several) = take_all(headers, &header::AUTHORIZATION);
        headers.remove(header::PROXY_AUTHORIZATION);
        let proof = match take_all(headers, &DPOP) {
            (None, _) => ProofField::Absent,
            (Some(proof), false) => ProofField::One(proof),
            (Some(_), true) => ProofField::Several,
        };
        let scheme = authorization.as_ref().and_then(|value| split(value.as_bytes())).map(|(scheme, _)| scheme);
        let in_query = query.is_some_and(has_access_token);
        let credentials = match (authorization, in_query) {
            (Some(_), _) if several => {
                Err(Refusal::new(Reason::CredentialsMultiple).found("several Authorization fields"))
            }
            (None, false) => Err(Refusal::new(Reason::CredentialsMissing)),
            (None, true) => Err(Refusal::new(Reason::TokenInQuery).expected("the token in the Authorization field")),
            (Some(authorization), false) => Self::read(authorization, proof, last),
            (Some(_), true) => Err(Refusal::new(Reason::CredentialsMultiple).found("a token in the query as well")),
        };
        Taken { scheme, credentials }
    }

    fn read(authorization: HeaderValue, proof: ProofField, last: &LastShown) -> Result<Self, Refusal> {
        let shown = if let Some(shown) = last.recall(&authorization) {
            shown
        } else {
            let shown = Arc::new(Authorization::parse(authorization.as_bytes())?);
            last.remember(&shown);
            shown
        };
        Ok(Self { shown, authorization, proof })
    }

    /// The scheme that the token came under.
    pub fn scheme(&self) -> Scheme {
        self.shown.scheme
    }

    /// The access token: one token68.
    pub fn token(&self) -> &str {
        self.shown.token()
    }

    /// The token's hash, which `hash` computes for as long as the connection shows no other token.
    pub fn token_hash(&self, hash: impl FnOnce(&str) -> [u8; 32]) -> [u8; 32] {
        *self.shown.hash.get_or_init(|| hash(self.shown.token()))
    }

    /// The field as the client sent it.
    pub const fn authorization(&self) -> &HeaderValue {
        &self.authorization
    }

    /// The proof that came along.
    pub const fn proof(&self) -> &ProofField {
        &self.proof
    }
}

impl Authorization {
    fn token(&self) -> &str {
        self.text.get(self.token_at..).unwrap_or_default()
    }

    fn parse(bytes: &[u8]) -> Result<Self, Refusal> {
        let malformed = |found| Refusal::new(Reason::CredentialsMalformed).expected("one token68").found(found);
        let Some((scheme, rest)) = split(bytes) else {
            return Err(Refusal::new(Reason::CredentialsMissing).found("an authentication scheme that is not accepted"));
        };
        // Intermediaries may join repeated lines with commas (RFC 9110 §5.3).
        if rest.contains(&b',') {
            return Err(
                Refusal::new(Reason::CredentialsMultiple).found("several credentials in one Authorization field")
            );
        }
        let spaces = rest.iter().take_while(|byte| **byte == b' ').count();
        let token = &rest[spaces..];
        if spaces == 0 || token.is_empty() {
            return Err(malformed("no token after the scheme"));
        }
        if !is_token68(token) {
            return Err(malformed("other characters"));
        }
        let token_at = bytes.len() - token.len();
        let text = String::from_utf8(bytes.to_vec()).map_err(|_| malformed("other characters"))?;
        Ok(Self { text, scheme, token_at, hash: OnceLock::new() })
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("scheme", &self.shown.scheme).finish_non_exhaustive()
    }
}

impl fmt::Debug for LastShown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LastShown(…)")
    }
}

impl fmt::Debug for ProofField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Absent => "Absent",
            Self::One(_) => "One(…)",
            Self::Several => "Several",
        })
    }
}

/// The first line of a field, and whether there were more of them; none of them stays.
fn take_all(headers: &mut HeaderMap, name: &HeaderName) -> (Option<HeaderValue>, bool) {
    let several = headers.get_all(name).iter().nth(1).is_some();
    (headers.remove(name), several)
}

/// The scheme, if it is one of ours, and what follows it.
fn split(value: &[u8]) -> Option<(Scheme, &[u8])> {
    let end = value.iter().position(|byte| !byte.is_ascii_alphanumeric() && *byte != b'-' && *byte != b'_');
    let (name, rest) = value.split_at(end.unwrap_or(value.len()));
    let scheme = if name.eq_ignore_ascii_case(b"dpop") {
        Scheme::Dpop
    } else if name.eq_ignore_ascii_case(b"bearer") {
        Scheme::Bearer
    } else {
        return None;
    };
    Some((scheme, rest))
}

/// RFC 9110 §11.2.
fn is_token68(token: &[u8]) -> bool {
    let padding = token.iter().rev().take_while(|byte| **byte == b'=').count();
    let core = &token[..token.len() - padding];
    // Without an early end: tokens are long, and nearly all of them are well-formed.
    !core.is_empty() && core.iter().fold(true, |all, byte| all & TOKEN68[usize::from(*byte)])
}

/// Which bytes the core of a token68 is made of.
static TOKEN68: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0_u8;
    while byte < 128 {
        table[byte as usize] = byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'+' | b'/');
        byte += 1;
    }
    table
};

/// Whether a parameter is called `access_token` (RFC 6750 §2.3) by any server's reading: without case (ASP.NET),
/// with dots and spaces folded and brackets cut (PHP).
fn has_access_token(query: &str) -> bool {
    query.split(['&', ';']).any(|pair| {
        let name = decoded(pair.split('=').next().unwrap_or_default());
        let name = name.trim_ascii_start();
        let end = name.iter().position(|byte| matches!(byte, b'[' | 0)).unwrap_or(name.len());
        let folded = name[..end].iter().map(|byte| if matches!(byte, b'.' | b' ') { b'_' } else { *byte });
        folded.map(|byte| byte.to_ascii_lowercase()).eq(*b"access_token")
    })
}

/// `application/x-www-form-urlencoded`, leniently: what is no escape stands for itself.
fn decoded(name: &str) -> Vec<u8> {
    let digit = |byte: Option<&u8>| byte.and_then(|byte| char::from(*byte).to_digit(16));
    let bytes = name.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let escape = digit(bytes.get(at + 1)).zip(digit(bytes.get(at + 2))).filter(|_| *byte == b'%');
        let (next, length) = match escape.and_then(|(high, low)| u8::try_from(high << 4 | low).ok()) {
            Some(byte) => (byte, 3),
            None if *byte == b'+' => (b' ', 1),
            None => (*byte, 1),
        };
        decoded.push(next);
        at += length;
    }
    decoded
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(lines: &[&[u8]], query: Option<&str>) -> Result<Credentials, Reason> {
        take_after(&LastShown::default(), lines, query)
    }

    fn take_after(last: &LastShown, lines: &[&[u8]], query: Option<&str>) -> Result<Credentials, Reason> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(header::AUTHORIZATION, HeaderValue::from_bytes(line).unwrap());
        }
        let taken = Credentials::take(&mut headers, query, last);
        assert!(headers.is_empty());
        taken.credentials.map_err(|refusal| refusal.reason())
    }

    #[test]
    fn one_token_under_one_scheme() {
        let credentials = take(&[b"dpOp   abc.def~+/=="], Some("access_tokens=1&filter=access_token")).unwrap();
        assert_eq!((credentials.scheme(), credentials.token()), (Scheme::Dpop, "abc.def~+/=="));
        assert_eq!(take(&[b"BEARER a"], None).unwrap().scheme(), Scheme::Bearer);
    }

    #[test]
    fn everything_else_is_refused_for_its_own_reason() {
        use Reason::{CredentialsMalformed, CredentialsMissing, CredentialsMultiple, TokenInQuery};
        type Case<'a> = (&'a [&'a [u8]], Option<&'a str>, Reason);
        let cases: &[Case<'_>] = &[
            (&[], None, CredentialsMissing),
            (&[b"Basic abc"], None, CredentialsMissing),
            (&[b"DPoPx abc"], None, CredentialsMissing),
            (&[b"DPoP a", b"Bearer b"], None, CredentialsMultiple),
            (&[b"DPoP aaa, Bearer bbb"], None, CredentialsMultiple),
            (&[b"DPoP m a l"], None, CredentialsMalformed),
            (&[b"DPoP"], None, CredentialsMalformed),
            (&[b"DPoP\tabc"], None, CredentialsMalformed),
            (&[b"DPoP \xff"], None, CredentialsMalformed),
            (&[b"DPoP =="], None, CredentialsMalformed),
            (&[], Some("access_token=x"), TokenInQuery),
            (&[], Some("a=1;%61ccess_token"), TokenInQuery),
            (&[b"DPoP a"], Some("access_token="), CredentialsMultiple),
            (&[], Some("+access.Token[]=x"), TokenInQuery),
            (&[], Some("access%20token%00x=y"), TokenInQuery),
        ];
        for (lines, query, reason) in cases {
            assert_eq!(take(lines, *query).unwrap_err(), *reason, "{lines:?} {query:?}");
        }
    }

    #[test]
    fn the_same_field_is_read_once_and_another_one_anew() {
        let last = LastShown::default();
        let of = |line: &[u8]| take_after(&last, &[line], None).unwrap();
        let first = of(b"DPoP one");
        assert_eq!(first.token_hash(|token| [token.as_bytes()[0]; 32]), [b'o'; 32]);
        let again = of(b"DPoP one");
        assert!(Arc::ptr_eq(&first.shown, &again.shown));
        assert_eq!(again.token_hash(|_| unreachable!("it is known")), [b'o'; 32]);
        for (line, scheme, token) in [
            (&b"Bearer one"[..], Scheme::Bearer, "one"),
            (b"DPoP  one", Scheme::Dpop, "one"),
            (b"DPoP two", Scheme::Dpop, "two"),
        ] {
            let other = of(line);
            assert_eq!((other.scheme(), other.token()), (scheme, token));
            assert_eq!(other.token_hash(|_| [7; 32]), [7; 32], "hashed anew");
            assert!(take_after(&last, &[b"DPoP two,"], None).is_err());
        }
        let long = [b"DPoP ".to_vec(), vec![b'a'; LastShown::MOST]].concat();
        assert!(!Arc::ptr_eq(&of(&long).shown, &of(&long).shown), "it is not kept");
    }

    #[test]
    fn debug_shows_no_secret() {
        let credentials = take(&[b"DPoP sesame"], None).unwrap();
        let last = LastShown::default();
        last.remember(&credentials.shown);
        assert!(!format!("{credentials:?} {last:?}").contains("sesame"));
    }
}
