//! base64url as JOSE wants it (RFC 7515 §2): no padding, no white space, no other alphabet, and no stray
//! bits in the last character, so that one value has exactly one spelling.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// The bytes, or `None` if `text` is not their one spelling.
pub fn decode(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

/// Exactly `N` bytes.
pub fn decode_array<const N: usize>(text: &str) -> Option<[u8; N]> {
    if text.len() != (N * 4).div_ceil(3) {
        return None;
    }
    let mut bytes = [0; N];
    match URL_SAFE_NO_PAD.decode_slice(text, &mut bytes) {
        Ok(length) if length == N => Some(bytes),
        _ => None,
    }
}

/// The one spelling of `bytes`.
pub fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The same into `room`; `None` when it is too small.
pub fn encode_into<'a>(bytes: &[u8], room: &'a mut [u8]) -> Option<&'a str> {
    let length = URL_SAFE_NO_PAD.encode_slice(bytes, room).ok()?;
    std::str::from_utf8(room.get(..length)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn other_spellings_are_refused() {
        for bad in ["QQ==", "QR", "Q Q", "+/", "QQ\n", "Q"] {
            assert_eq!(decode(bad), None, "{bad:?}");
        }
        assert_eq!(decode("QQ").as_deref(), Some(b"A".as_slice()));
    }

    proptest! {
        #[test]
        fn there_is_one_spelling(bytes in proptest::collection::vec(any::<u8>(), 0..70), text in "[A-Za-z0-9_=+/ -]{0,50}") {
            let (spelled, mut room) = (encode(&bytes), [0; 100]);
            prop_assert_eq!(encode_into(&bytes, &mut room), Some(spelled.as_str()));
            prop_assert!(bytes.is_empty() || encode_into(&bytes, &mut room[..spelled.len() - 1]).is_none());
            prop_assert_eq!(decode(&spelled), Some(bytes));
            if let Some(decoded) = decode(&text) {
                prop_assert_eq!(encode(&decoded), text);
            }
        }

        #[test]
        fn an_array_is_what_decode_gives(text in "[A-Za-z0-9_-]{41,45}") {
            let general = decode(&text).and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
            prop_assert_eq!(decode_array::<32>(&text), general);
        }
    }
}
