//! JSON as JOSE wants it (RFC 7515 §4, RFC 8725 §3.7): valid UTF-8, no duplicate member at any depth,
//! nothing behind the value, bounded depth. `serde_json` refuses lone surrogates, a BOM and numbers that
//! no double holds; what it forgives is refused here.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// No header, claim set or key nests deeper; `serde_json` itself stops at 128.
const MAX_DEPTH: usize = 16;

/// A JSON object that was read strictly.
#[derive(Clone, PartialEq)]
pub struct Json(Map<String, Value>);

impl Json {
    /// Reads one object. `None`: not one, or not strictly one.
    pub fn object(bytes: &[u8]) -> Option<Self> {
        match serde_json::from_slice::<Strict>(bytes).ok()?.0 {
            Value::Object(members) if depth(&members) <= MAX_DEPTH => Some(Self(members)),
            _ => None,
        }
    }

    /// From the members of an object that is already part of a strictly read document.
    pub fn from_members(members: &Map<String, Value>) -> Self {
        Self(members.clone())
    }

    /// A member, if present.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// A member that must be a string.
    pub fn string(&self, name: &str) -> Option<&str> {
        self.get(name)?.as_str()
    }

    /// Whether the member is there, whatever its value.
    pub fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// The members.
    pub const fn members(&self) -> &Map<String, Value> {
        &self.0
    }
}

impl fmt::Debug for Json {
    /// Names only: values may be secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// Depth of an object whose members are `members`; an object without containers inside has depth 1.
fn depth(members: &Map<String, Value>) -> usize {
    1 + members.values().map(value_depth).max().unwrap_or(0)
}

fn value_depth(value: &Value) -> usize {
    match value {
        Value::Object(members) => depth(members),
        Value::Array(items) => 1 + items.iter().map(value_depth).max().unwrap_or(0),
        _ => 0,
    }
}

/// Like [`Value`], but a member that comes twice is an error, however it is escaped.
struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StrictVisitor).map(Self)
    }
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("strict JSON")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut array = Vec::new();
        while let Some(Strict(item)) = items.next_element()? {
            array.push(item);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            let Strict(value) = members.next_value()?;
            if object.insert(name, value).is_some() {
                return Err(de::Error::custom("duplicate member"));
            }
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_not_strict_is_refused() {
        let deep = format!("{}1{}", r#"{"a":"#.repeat(17), "}".repeat(17));
        let bottomless = "[".repeat(100_000);
        for bad in [
            "",
            "[]",
            "\"x\"",
            "1",
            "null",
            "{} x",
            "{}{}",
            "\u{feff}{}",
            r#"{"a":1,"a":1}"#,
            r#"{"htu":1,"\u0068tu":1}"#,
            r#"{"o":{"a":1,"a":2}}"#,
            r#"{"l":[{"a":1,"a":2}]}"#,
            r#"{"a":"\ud800"}"#,
            r#"{"a":1e400}"#,
            r#"{"a":NaN}"#,
            "{'a':1}",
            r#"{"a":1,}"#,
            "{\"a\":\"\u{1}\"}",
            &deep,
            &bottomless,
        ] {
            assert!(Json::object(bad.as_bytes()).is_none(), "{bad:.40}");
        }
        assert!(Json::object(b"{\"a\":\"\xff\"}").is_none());
        let good = r#"{"a":1.5,"b":[{"a":null}],"c":{"a":true},"d":-1,"e":1,"f":"x"}"#;
        let read = Json::object(good.as_bytes()).unwrap();
        assert_eq!(*read.members(), *serde_json::from_str::<Value>(good).unwrap().as_object().unwrap());
    }

    #[test]
    fn objects_and_arrays_nest_to_a_bound() {
        for (open, close) in [("{\"a\":", "}"), ("[", "]")] {
            let nested = |depth: usize| format!("{{\"a\":{}1{}}}", open.repeat(depth - 1), close.repeat(depth - 1));
            assert!(Json::object(nested(MAX_DEPTH).as_bytes()).is_some(), "{open}");
            assert!(Json::object(nested(MAX_DEPTH + 1).as_bytes()).is_none(), "{open}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Json::object(&bytes);
        }
    }
}
