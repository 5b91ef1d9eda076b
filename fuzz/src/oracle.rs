//! What JSON values must say, in other words than the product's.

use keybound::verify::Json;
use serde_json::{Map, Value};

/// An object in the strict form that the `json` target compares by itself.
pub fn strict(bytes: &[u8]) -> Option<Value> {
    Json::object(bytes).map(|json| Value::Object(json.members().clone()))
}

/// RFC 7519 §2, NumericDate, as far as the product takes one: in milliseconds. The outer `None`: it is there, and is none.
pub fn date(claims: &Value, name: &str) -> Option<Option<i128>> {
    let Some(value) = claims.get(name) else { return Some(None) };
    let seconds = value.as_f64()?;
    let is_date = seconds >= 0.0 && !seconds.is_sign_negative() && seconds < 253_402_300_800.0;
    #[allow(clippy::cast_possible_truncation)]
    is_date.then_some(Some((seconds * 1000.0).trunc() as i128))
}

/// RFC 7515 §4.1.11, RFC 7797 §7.
pub fn demands_nothing(header: &Value) -> bool {
    header.get("crit").is_none() && header.get("b64").is_none()
}

/// Each line, and the rest.
pub fn lines<const N: usize>(data: &[u8]) -> [&[u8]; N] {
    let mut parts = data.splitn(N, |byte| *byte == b'\n');
    std::array::from_fn(|_| parts.next().unwrap_or_default())
}

/// Puts values in the place of words.
pub fn replaced(text: &[u8], words: &[(&str, &str)]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    'bytes: while let Some((first, others)) = rest.split_first() {
        for (word, value) in words {
            if let Some(behind) = rest.strip_prefix(word.as_bytes()) {
                out.extend_from_slice(value.as_bytes());
                rest = behind;
                continue 'bytes;
            }
        }
        out.push(*first);
        rest = others;
    }
    out
}

/// A good header and good claims with some members changed, so that most inputs get past the parser: each line is `h` or `c`,
/// a member's name, `=` and its value in JSON or as plain text; without `=`, the member is left out. A dot in the name goes
/// into a member.
pub fn edited(header: &str, claims: &str, edits: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let mut parts = [header, claims].map(|text| serde_json::from_str::<Value>(text).expect("JSON"));
    for edit in edits.split(|byte| *byte == b'\n') {
        let (part, edit) = match edit.split_first() {
            Some((b'h', edit)) => (0, edit),
            Some((b'c', edit)) => (1, edit),
            _ => continue,
        };
        let edit = String::from_utf8_lossy(edit);
        let (name, value) = edit.split_once('=').map_or((&*edit, None), |(name, value)| (name, Some(value)));
        let value = value.map(|text| serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned())));
        let (outer, inner) = name.rsplit_once('.').map_or((None, name), |(outer, inner)| (Some(outer), inner));
        let mut names = outer.into_iter().flat_map(|outer| outer.split('.'));
        let object = names.try_fold(&mut parts[part], |object, name| object.get_mut(name));
        let Some(members): Option<&mut Map<String, Value>> = object.and_then(Value::as_object_mut) else { continue };
        match value {
            Some(value) => members.insert(inner.to_owned(), value),
            None => members.remove(inner),
        };
    }
    let [header, claims] = parts.map(|part| part.to_string().into_bytes());
    (header, claims)
}
