//! The configuration as a JSON Schema (2020-12), for editors and for whoever writes files by program. Made of the very
//! definitions that read a file; the comments of `config.example.yaml` describe its fields. The reader knows more: bounds, what must be given, and what belongs together.

mod example;
pub mod reference;

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::document::Node;
use super::reading::{Field, Nullable, plain};
use super::values::{Named, Size};
use crate::telemetry::Share;

/// Something that takes its value from the environment.
const FROM_ENVIRONMENT: &str = r"\$\{[A-Za-z_][A-Za-z0-9_]*(:-[^}]*)?\}";

/// What `humantime` reads.
const DURATION: &str = concat!(
    r"^\s*(0|([0-9]+\s*(nanos|nsec|ns|usec|us|µs|millis|msec|ms|seconds|second|secs|sec|s|minutes|minute|mins|min",
    r"|m|hours|hour|hrs|hr|h|days|day|d|weeks|week|wks|wk|w|months|month|M|years|year|yrs|yr|y)\s*)+)$"
);

const SIZE: &str = r"^[0-9]+\s*(B|KB|MB|GB|KiB|MiB|GiB)?$";

/// What a value of this type may be.
pub trait Schema {
    /// As a schema. What has a name goes to the definitions.
    fn schema(definitions: &mut Definitions) -> Value;
}

/// Schemas that others refer to by name.
#[derive(Debug, Default)]
pub struct Definitions(Map<String, Value>);

impl Definitions {
    /// A mapping with these fields and no others.
    pub fn mapping(
        &mut self,
        name: &str,
        description: &str,
        fields: impl FnOnce(&mut Self) -> Vec<(&'static str, Value)>,
    ) -> Value {
        if !self.0.contains_key(name) {
            let fields = fields(self).into_iter().map(|(name, schema)| (plain(name).to_owned(), schema));
            let schema = json!({
                "description": description.trim_ascii(),
                "type": "object",
                "properties": fields.collect::<Map<_, _>>(),
                "additionalProperties": false,
            });
            self.0.insert(name.to_owned(), schema);
        }
        reference(name)
    }

    /// One of a few words.
    pub fn words(&mut self, name: &str, description: &str, words: &[&str]) -> Value {
        let schema = or_from_environment(&json!({ "enum": words }));
        self.0.entry(name.to_owned()).or_insert_with(|| {
            let mut schema = schema;
            schema["description"] = description.trim_ascii().into();
            schema
        });
        reference(name)
    }
}

fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/$defs/{name}") })
}

/// The environment holds nothing but texts, whatever is wanted.
fn or_from_environment(schema: &Value) -> Value {
    json!({ "anyOf": [schema, { "type": "string", "pattern": FROM_ENVIRONMENT }] })
}

/// The whole file.
pub fn schema<T: Schema>(name: &str) -> Value {
    let mut definitions = Definitions::default();
    T::schema(&mut definitions);
    let mut all = definitions.0.remove(name).unwrap_or_default();
    all["$schema"] = "https://json-schema.org/draft/2020-12/schema".into();
    all["title"] = "Keybound".into();
    all["$defs"] = definitions.0.into();
    example::describe(&mut all);
    all
}

impl Schema for String {
    fn schema(_: &mut Definitions) -> Value {
        json!({ "type": "string" })
    }
}

impl Schema for bool {
    fn schema(_: &mut Definitions) -> Value {
        or_from_environment(&json!({ "type": "boolean" }))
    }
}

impl Schema for u64 {
    fn schema(_: &mut Definitions) -> Value {
        or_from_environment(&json!({ "type": "integer", "minimum": 0 }))
    }
}

impl Schema for Share {
    fn schema(_: &mut Definitions) -> Value {
        or_from_environment(&json!({ "type": "number", "minimum": 0, "maximum": 1 }))
    }
}

impl Schema for Duration {
    fn schema(_: &mut Definitions) -> Value {
        let duration = json!({ "type": "string", "pattern": DURATION, "examples": ["500ms", "30s", "5m"] });
        or_from_environment(&duration)
    }
}

impl Schema for Size {
    fn schema(_: &mut Definitions) -> Value {
        let text = json!({ "type": "string", "pattern": SIZE, "examples": ["32KiB", "1MiB"] });
        or_from_environment(&json!({ "anyOf": [{ "type": "integer", "minimum": 0 }, text] }))
    }
}

/// Anything.
impl Schema for Node {
    fn schema(_: &mut Definitions) -> Value {
        json!({})
    }
}

impl<T: Schema> Schema for Vec<Field<T>> {
    fn schema(definitions: &mut Definitions) -> Value {
        json!({ "type": "array", "items": T::schema(definitions) })
    }
}

impl<T: Schema> Schema for Named<T> {
    fn schema(definitions: &mut Definitions) -> Value {
        json!({ "type": "object", "additionalProperties": T::schema(definitions) })
    }
}

impl<T: Schema> Schema for Field<T> {
    fn schema(definitions: &mut Definitions) -> Value {
        T::schema(definitions)
    }
}

impl<T: Schema> Schema for Nullable<T> {
    fn schema(definitions: &mut Definitions) -> Value {
        json!({ "anyOf": [T::schema(definitions), { "type": "null" }] })
    }
}
