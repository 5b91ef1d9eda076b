//! The confirmation of a token (`cnf`, RFC 7800): which key its caller must possess.

use serde_json::Value;

use super::base64url;
use super::json::Json;
use super::jwk::Thumbprint;
use crate::refusal::{Reason, Refusal};

/// What a token is bound to: at least one of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Confirmation {
    /// `jkt`: thumbprint of a proof key (RFC 9449 §6.1).
    pub jkt: Option<Thumbprint>,
    /// `x5t#S256`: SHA-256 of a certificate (RFC 8705 §3.1).
    pub x5t_s256: Option<[u8; 32]>,
}

impl Confirmation {
    /// Reads `cnf` of a claim set; `None` when there is no such claim. Unknown members beside a known one are
    /// ignored (RFC 7800 §3.1); unknown members alone demand something that nobody here can check.
    ///
    /// # Errors
    /// [`Reason::ConfirmationMalformed`], [`Reason::ConfirmationUnenforceable`].
    pub fn of(claims: &Json) -> Result<Option<Self>, Refusal> {
        let Some(cnf) = claims.get("cnf") else { return Ok(None) };
        let malformed = |expected| Refusal::new(Reason::ConfirmationMalformed).expected(expected);
        let members = cnf.as_object().ok_or_else(|| malformed("cnf, an object"))?;
        let thumbprint = |name: &str, expected: &'static str| match members.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => {
                base64url::decode_array::<32>(text).map(Some).ok_or_else(|| malformed(expected))
            }
            Some(_) => Err(malformed(expected)),
        };
        let jkt = thumbprint("jkt", "jkt, 43 characters of base64url")?.map(Thumbprint);
        let x5t_s256 = thumbprint("x5t#S256", "x5t#S256, 43 characters of base64url")?;
        if jkt.is_none() && x5t_s256.is_none() {
            return Err(Refusal::new(Reason::ConfirmationUnenforceable)
                .expected("jkt or x5t#S256")
                .found(format!("{} other members", members.len())));
        }
        Ok(Some(Self { jkt, x5t_s256 }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(cnf: &str) -> Result<Option<Confirmation>, Reason> {
        let claims = Json::object(format!(r#"{{"cnf":{cnf}}}"#).as_bytes()).unwrap();
        Confirmation::of(&claims).map_err(|refusal| refusal.reason())
    }

    #[test]
    fn the_published_values_are_read() {
        let both = of(
            r#"{"jkt":"0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I","x5t#S256":"A4DtL2JmUMhAsvJj5tKyn64SqzmuXbMrJa0n761y5v0","kc-jkt-type":1}"#,
        );
        let both = both.unwrap().unwrap();
        assert_eq!(both.jkt.unwrap().to_string(), "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I");
        assert!(both.x5t_s256.is_some());
    }

    #[test]
    fn everything_else_is_closed() {
        for bad in [
            "null",
            "1",
            "true",
            r#""x""#,
            "[]",
            r#"{"jkt":1}"#,
            r#"{"jkt":""}"#,
            r#"{"x5t#S256":[]}"#,
            r#"{"jkt":"0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4J"}"#,
            r#"{"jkt":"0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I="}"#,
            r#"{"jkt":"d1970e08e459358cbe0d6a6aab7d236722461d33747761e0941577ba282e0382"}"#,
            r#"{"x5t#S256":"A4DtL2JmUMhAsvJj5tKyn64SqzmuXbMrJa0n761y5v0","jkt":null}"#,
        ] {
            assert_eq!(of(bad), Err(Reason::ConfirmationMalformed), "{bad}");
        }
        for bad in ["{}", r#"{"jwk":{}}"#, r#"{"kid":"x"}"#, r#"{"x5t":"T8Qp8fPmVYqb9iHyzQUaAbxBedY"}"#] {
            assert_eq!(of(bad), Err(Reason::ConfirmationUnenforceable), "{bad}");
        }
        assert_eq!(Confirmation::of(&Json::object(br#"{"act":{"cnf":{}}}"#).unwrap()), Ok(None));
    }
}
