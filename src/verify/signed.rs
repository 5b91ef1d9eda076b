//! A JWT that somebody signed (RFC 7519, RFC 7515), read strictly: the part that access tokens and signed answers of
//! an introspection endpoint share.

use super::algorithm::Algorithm;
use super::base64url;
use super::json::Json;
use super::jwk::{Keyset, PublicKey, Thumbprint};
use super::jws::{self, Compact};
use super::signatures::Signatures;
use crate::refusal::{Reason, Refusal};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use base64::{Engine as _, alphabet};

/// Keys of one `kid` that are tried; more would let an issuer's mistake burn our time.
const MAX_CANDIDATES: usize = 8;

/// A JWT whose signature nobody checked yet. [`SignedJwt::read`] takes the steps below in their order, and stops at the
/// first that fails.
pub struct SignedJwt<'a> {
    jws: Compact<'a>,
    header: Json,
    claims: Json,
    algorithm: Algorithm,
}

impl<'a> SignedJwt<'a> {
    /// Reads the compact form. Does not bound its length.
    ///
    /// # Errors
    /// [`Reason::TokenMalformed`], [`Reason::TokenCritical`], [`Reason::TokenAlgorithm`].
    pub fn read(text: &'a str) -> Result<Self, Refusal> {
        let jws = split(text)?;
        let header = read_header(&jws)?;
        check_extensions(&header)?;
        let algorithm = read_algorithm(&header)?;
        let claims = read_claims(&jws)?;
        Ok(Self { jws, header, claims, algorithm })
    }

    /// The header.
    pub const fn header(&self) -> &Json {
        &self.header
    }

    /// The claims, vouched for by nobody yet.
    pub const fn claims(&self) -> &Json {
        &self.claims
    }

    /// The same, for keeps.
    pub fn into_claims(self) -> Json {
        self.claims
    }

    /// `alg`.
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Whether `typ` is this media type.
    pub fn is_typed(&self, media_type: &str) -> bool {
        is_typed(&self.header, media_type)
    }

    /// The key among `keys` under which the signature verifies, for the `alg` and `kid` of the header.
    ///
    /// # Errors
    /// [`Reason::TokenKeyUnknown`], [`Reason::TokenSignature`], [`Reason::TokenMalformed`].
    pub fn signing_key(&self, keys: &Keyset, signatures: &impl Signatures) -> Result<Thumbprint, Refusal> {
        signing_key(&self.jws, &self.header, self.algorithm, keys, signatures)
    }
}

fn malformed(found: &'static str) -> Refusal {
    Refusal::new(Reason::TokenMalformed).expected("a signed JWT").found(found)
}

/// RFC 7515 §7.1: three segments.
pub fn split(text: &str) -> Result<Compact<'_>, Refusal> {
    Compact::split(text).ok_or_else(|| malformed("other than three segments"))
}

/// The protected header as strict JSON.
pub fn read_header(jws: &Compact<'_>) -> Result<Json, Refusal> {
    jws::decode_object(jws.header).ok_or_else(|| malformed("a header that is not strict JSON"))
}

/// RFC 7515 §4.1.11, RFC 7797 §7.
pub fn check_extensions(header: &Json) -> Result<(), Refusal> {
    if jws::demands_extension(header) {
        return Err(Refusal::new(Reason::TokenCritical).found("crit or b64 in the header"));
    }
    Ok(())
}

/// `alg`, if it is one that could be accepted of anybody.
pub fn read_algorithm(header: &Json) -> Result<Algorithm, Refusal> {
    let unknown = || Refusal::new(Reason::TokenAlgorithm).expected("an asymmetric signature algorithm");
    header.string("alg").and_then(Algorithm::from_name).ok_or_else(unknown)
}

/// The claims as strict JSON.
pub fn read_claims(jws: &Compact<'_>) -> Result<Json, Refusal> {
    jws.claims().ok_or_else(|| malformed("claims that are not strict JSON"))
}

/// Whether `typ` is this media type.
pub fn is_typed(header: &Json, media_type: &str) -> bool {
    header.string("typ").is_some_and(|typ| same_media_type(media_type, typ))
}

/// [`SignedJwt::signing_key`].
pub fn signing_key(
    jws: &Compact<'_>,
    header: &Json,
    algorithm: Algorithm,
    keys: &Keyset,
    signatures: &impl Signatures,
) -> Result<Thumbprint, Refusal> {
    let unknown = || {
        let kid = if header.has("kid") { "another kid" } else { "no kid" };
        Refusal::new(Reason::TokenKeyUnknown)
            .expected("a kid and alg of the issuer's JWK set")
            .found(format!("{kid}, {algorithm}"))
    };
    let kid = match header.get("kid") {
        None => None,
        Some(kid) => Some(kid.as_str().ok_or_else(unknown)?),
    };
    let malformed = || Refusal::new(Reason::TokenMalformed).found("a signature that is not base64url");
    let signature = jws.signature_bytes().ok_or_else(malformed)?;
    let mut candidates = keys.candidates(kid, algorithm).take(MAX_CANDIDATES).peekable();
    if candidates.peek().is_none() {
        return Err(unknown());
    }
    candidates
        .find(|key| signatures.verifies(key, jws.signing_input.as_bytes(), &signature))
        .map(PublicKey::thumbprint)
        // Without a kid, a key that the issuer took into use since looks just like a wrong signature.
        .ok_or_else(|| if kid.is_some() { Reason::TokenSignature.into() } else { unknown() })
}
/// As careless readers decode.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::URL_SAFE,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Whether a token is one that only its issuer can read: anything but a compact JWS. What begins with a JOSE header and
/// a dot is meant to be a JWS, however broken the rest is; with five segments and `enc` (RFC 7516 §4.1.2) it is a JWE, of
/// which nobody here has the key.
pub fn is_opaque(token: &str) -> bool {
    let Some((header, rest)) = token.split_once('.') else { return true };
    if !begins_as_object(header) {
        return true;
    }
    let is_encrypted = || Json::object(&base64url::decode(header)?)?.get("enc").map(drop);
    rest.bytes().filter(|byte| *byte == b'.').count() == 3 && is_encrypted().is_some()
}

/// Whether an encoded header begins as JSON does. The first characters tell, behind any white space, also of a header that
/// a lenient reader would read and we would not.
fn begins_as_object(header: &str) -> bool {
    for part in header.trim_end_matches('=').as_bytes().chunks(8) {
        let Ok(bytes) = LENIENT.decode(part) else { return false };
        if let Some(first) = bytes.trim_ascii_start().first() {
            return *first == b'{';
        }
    }
    false
}

/// RFC 7515 §4.1.9: `application/` may be left out; media types compare without case.
fn same_media_type(a: &str, b: &str) -> bool {
    const PREFIX: &str = "application/";
    let bare = |text: &'_ str| -> String {
        let text = text.to_ascii_lowercase();
        text.strip_prefix(PREFIX).map(str::to_owned).unwrap_or(text)
    };
    bare(a) == bare(b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn media_types_compare_without_case_and_prefix() {
        assert!(same_media_type("at+jwt", "application/AT+JWT") && same_media_type("application/at+jwt", "at+jwt"));
        assert!(!same_media_type("at+jwt", "jwt") && !same_media_type("at+jwt", "text/at+jwt"));
    }

    #[test]
    fn what_begins_as_a_jws_is_never_opaque() {
        let segments = |header: &str| [header.as_bytes(), b"{}", b"x"].map(base64url::encode).join(".");
        for jws in [
            r#"{"alg":"ES256"}"#,
            " {",
            "\r\n\t    \n {",
            &format!("{}{{}}", " ".repeat(100)),
            "{\"a\":1,\"a\":2}",
            "{broken",
        ] {
            assert!(!is_opaque(&segments(jws)), "{jws}");
        }
        let header = base64url::encode(b"{\"alg\":\"none\"}");
        for broken in ["", "e30", "e30.", "e30.x=", "e30.~", "e30.a.b", "e30.a.b.c.d"] {
            assert!(!is_opaque(&format!("{header}.{broken}")), "{broken}");
        }
        let published = "Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU";
        let encrypted = base64url::encode(br#"{"alg":"dir","enc":"A256GCM"}"#) + ".a.b.c.d";
        // Five segments make no JWE of a header that a lenient reader takes for a signature's; nor do stray bits.
        assert!(!is_opaque(&format!("{header}.a.b.c.d")) && !is_opaque(&format!("{header}=.a.b")));
        let blank = base64url::encode(b" \n ") + ".a.b";
        for opaque in
            ["", "x", &blank, "2YotnFZFEjr1zCsicMWpAA", "a.b.c", published, &encrypted, &segments("[1]"), &header]
        {
            assert!(is_opaque(opaque), "{opaque}");
        }
    }
}
