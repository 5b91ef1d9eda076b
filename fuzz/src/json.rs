//! Strict JSON (RFC 7515 §4) beside `serde_json`, which forgives more.

use keybound::verify::{Json, base64url};
use serde_json::Value;

pub fn run(data: &[u8]) {
    let plain = serde_json::from_slice::<Value>(data).ok();
    match (Json::object(data), plain) {
        (Some(strict), plain) => {
            let value = Value::Object(strict.members().clone());
            assert_eq!(plain.as_ref(), Some(&value), "both read the same");
            assert!(depth(&value) <= 16);
            assert_eq!(members(data), count(&value), "no member is there twice");
            let again = Json::object(value.to_string().as_bytes()).expect("what is written is read");
            // `serde_json` reads the last digits of a fraction by rough estimate.
            assert!(has_fraction(&value) || Value::Object(again.members().clone()) == value, "and means the same");
        }
        // Refused for depth, or for a member that comes twice: without those it is read.
        (None, Some(value @ Value::Object(_))) if depth(&value) <= 16 => {
            let single = value.to_string();
            assert!(Json::object(single.as_bytes()).is_some(), "{single}");
            assert!(members(data) > count(&value), "a member must be there twice");
        }
        (None, _) => {}
    }
    if let Ok(text) = std::str::from_utf8(data)
        && let Some(bytes) = base64url::decode(text)
    {
        assert_eq!(base64url::encode(&bytes), text, "one spelling");
    }
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Object(members) => 1 + members.values().map(depth).max().unwrap_or(0),
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

fn has_fraction(value: &Value) -> bool {
    match value {
        Value::Object(members) => members.values().any(has_fraction),
        Value::Array(items) => items.iter().any(has_fraction),
        value => value.is_f64(),
    }
}

fn count(value: &Value) -> usize {
    match value {
        Value::Object(members) => members.len() + members.values().map(count).sum::<usize>(),
        Value::Array(items) => items.iter().map(count).sum(),
        _ => 0,
    }
}

/// How many members are written down: colons outside of texts, in valid JSON.
fn members(json: &[u8]) -> usize {
    let (mut inside, mut escaped, mut colons) = (false, false, 0);
    for byte in json {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if inside => escaped = true,
            b'"' => inside = !inside,
            b':' if !inside => colons += 1,
            _ => {}
        }
    }
    colons
}
