//! JWS compact serialization (RFC 7515 §7.1), strictly: three segments, one spelling of each.

use super::base64url;
use super::json::Json;

/// A split JWS. Nothing is verified; header and payload are still encoded.
#[derive(Clone, Copy)]
pub struct Compact<'a> {
    /// The encoded protected header.
    pub header: &'a str,
    /// The encoded payload.
    pub payload: &'a str,
    /// The encoded signature.
    pub signature: &'a str,
    /// What is signed: header, dot, payload.
    pub signing_input: &'a str,
}

impl<'a> Compact<'a> {
    /// Splits at exactly two dots. Does not decode.
    pub fn split(text: &'a str) -> Option<Self> {
        let (signing_input, signature) = text.rsplit_once('.')?;
        let (header, payload) = signing_input.split_once('.')?;
        (!payload.contains('.') && !header.is_empty() && !payload.is_empty()).then_some(Self {
            header,
            payload,
            signature,
            signing_input,
        })
    }

    /// The payload as a strict JSON object.
    pub fn claims(&self) -> Option<Json> {
        decode_object(self.payload)
    }

    /// The signature's bytes.
    pub fn signature_bytes(&self) -> Option<Vec<u8>> {
        base64url::decode(self.signature)
    }
}

/// An encoded segment as a strict JSON object.
pub fn decode_object(segment: &str) -> Option<Json> {
    Json::object(&base64url::decode(segment)?)
}

/// Whether the header demands an extension: `crit` in any form (RFC 7515 §4.1.11; we understand none), or
/// `b64` (RFC 7797 §7: not in JWTs).
pub fn demands_extension(header: &Json) -> bool {
    header.has("crit") || header.has("b64")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn exactly_three_segments() {
        assert!(Compact::split("a.b.c").is_some() && Compact::split("a.b.").is_some());
        for bad in ["", "a", "a.b", "a.b.c.d", "a.b.c.d.e", "...", "..", ".b.c", "a..c"] {
            assert!(Compact::split(bad).is_none(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn what_splits_can_be_joined(text in "[a-c.]{0,12}") {
            if let Some(jws) = Compact::split(&text) {
                prop_assert_eq!(format!("{}.{}.{}", jws.header, jws.payload, jws.signature), text);
            }
        }
    }
}
