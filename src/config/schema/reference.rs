//! The schema as a document for people: each field with its type, default and meaning.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Map, Value};

use super::example::{self, Shown};
use super::{DURATION, FROM_ENVIRONMENT, SIZE};

const BEGINNING: &str = "\
# Configuration reference

Every field, made of the schema and of `config.example.yaml` by `keybound schema --format markdown`. The
[example](../config.example.yaml) shows them in their places. A `…[]` is one of a list, `NAME` a name of your own.

Unknown and doubled fields are errors. Durations read `500ms`, `60s`, `5m`; sizes read `32KiB`, `1MiB`, `10MB`. Paths are
relative to the file's directory. Inside text values, `${NAME}` and `${NAME:-default}` are taken from the environment, and
`$$` is a dollar sign. A running gateway takes changes without a restart, but for the fields that say *restart*.
";

/// The whole document, as Markdown.
pub fn document(schema: &Value) -> String {
    let fields = example::fields(schema).into_iter().enumerate();
    let shown = fields.map(|(at, (pointer, shown))| (pointer, (at, shown))).collect();
    let mut reference = Reference { schema, shown, text: BEGINNING.to_owned() };
    reference.section("", "", "");
    reference.text
}

struct Reference<'a> {
    schema: &'a Value,
    /// By the pointer to the field's schema: where it stands in the example, and what stands there.
    shown: BTreeMap<String, (usize, Shown)>,
    text: String,
}

/// A mapping below another.
struct Below {
    pointer: String,
    path: String,
    meaning: String,
}

impl Reference<'_> {
    /// The fields of the mapping at a pointer, then those of the mappings in it.
    fn section(&mut self, pointer: &str, path: &str, meaning: &str) {
        let Some(mapping) = self.schema.pointer(pointer).and_then(Value::as_object) else { return };
        let title = if path.is_empty() { "The file".to_owned() } else { format!("`{path}`") };
        let said = mapping.get("description").and_then(Value::as_str).unwrap_or_default();
        // The example says there what its fields do not say for themselves.
        let is_told =
            properties(mapping).all(|(name, _)| self.shown.contains_key(&format!("{pointer}/properties/{name}")));
        let also = if is_told || meaning.is_empty() { String::new() } else { format!(" {}", sentence(meaning)) };
        let _ = write!(
            self.text,
            "\n## {title}\n\n{said}{also}\n\n| Field | Type | Default | Meaning |\n| --- | --- | --- | --- |\n"
        );
        let mut names: Vec<&String> = properties(mapping).map(|(name, _)| name).collect();
        let place = |name: &str| self.shown.get(&format!("{pointer}/properties/{name}")).map(|(at, _)| *at);
        names.sort_by_key(|name| place(name).unwrap_or(usize::MAX));
        let mut below = Vec::new();
        for name in names {
            below.extend(self.row(&format!("{pointer}/properties/{name}"), name, path));
        }
        for Below { pointer, path, meaning } in below {
            self.section(&pointer, &path, &meaning);
        }
    }

    /// One field; the mapping that it holds, if any.
    fn row(&mut self, pointer: &str, name: &str, parent: &str) -> Option<Below> {
        let path = if parent.is_empty() { name.to_owned() } else { format!("{parent}.{name}") };
        let schema = self.schema.pointer(pointer)?;
        let mut kind = Kind { schema: self.schema, path, mapping: None };
        let mut words = kind.of(schema);
        let (mut default, mut meaning) = (String::new(), String::new());
        if let Some((_, shown)) = self.shown.get(pointer) {
            let remark = shown.remark();
            default = match (remark.required, remark.default) {
                (Some(required), _) => required,
                (None, Some(default)) if default.contains(' ') => default,
                (None, Some(default)) => code(&default),
                (None, None) if shown.value.is_empty() => String::new(),
                (None, None) => code(&shown.value),
            };
            meaning = remark.meaning.replace('*', "\\*");
            if remark.restart {
                meaning = if meaning.is_empty() { "*restart*".to_owned() } else { format!("{meaning} *(restart)*") };
            }
        }
        if default.is_empty() && words.ends_with(" or `null`") {
            default = code("null");
        }
        if let Some((_, path)) = &kind.mapping {
            words = words.replace("mapping", &format!("[mapping](#{})", anchor(path)));
        }
        let cells = [code(name), words, default, meaning.clone()].map(|cell| cell.replace('|', "\\|"));
        let _ = writeln!(self.text, "| {} |", cells.join(" | "));
        let meaning = meaning.replace(" *(restart)*", "").replace("*restart*", "");
        kind.mapping.map(|(pointer, path)| Below { pointer, path, meaning })
    }
}

/// A type in words.
struct Kind<'a> {
    schema: &'a Value,
    path: String,
    /// Pointer and path of the mapping that was found in it.
    mapping: Option<(String, String)>,
}

impl Kind<'_> {
    fn of(&mut self, schema: &Value) -> String {
        if let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
            let pointer = reference.trim_start_matches('#');
            let target = self.schema.pointer(pointer).unwrap_or(&Value::Null);
            if target.get("properties").is_some() {
                self.mapping = Some((pointer.to_owned(), self.path.clone()));
                return "mapping".to_owned();
            }
            return self.of(target);
        }
        if let Some(choices) = schema.get("anyOf").and_then(Value::as_array) {
            let mut words: Vec<String> = Vec::new();
            for word in
                choices.iter().filter(|choice| !is_pattern(choice, FROM_ENVIRONMENT)).map(|choice| self.of(choice))
            {
                if !words.contains(&word) {
                    words.push(word);
                }
            }
            // A size is a number of bytes too, and needs not say so.
            if words.iter().any(|word| word == "size") {
                words.retain(|word| word != "number");
            }
            return words.join(" or ");
        }
        if let Some(words) = schema.get("enum").and_then(Value::as_array) {
            return words.iter().filter_map(Value::as_str).map(code).collect::<Vec<_>>().join(", ");
        }
        match schema.get("type").and_then(Value::as_str) {
            Some("array") => {
                self.path.push_str("[]");
                format!("list of: {}", self.of(&schema["items"]))
            }
            Some("object") => {
                self.path.push_str(".NAME");
                format!("names, each with: {}", self.of(&schema["additionalProperties"]))
            }
            Some("string") if is_pattern(schema, DURATION) => "duration".to_owned(),
            Some("string") if is_pattern(schema, SIZE) => "size".to_owned(),
            Some("string") => "text".to_owned(),
            Some("boolean") => "`true`, `false`".to_owned(),
            Some("integer") => "number".to_owned(),
            Some("number") => "number from 0 to 1".to_owned(),
            Some("null") => "`null`".to_owned(),
            _ => "anything".to_owned(),
        }
    }
}

fn properties(mapping: &Map<String, Value>) -> impl Iterator<Item = (&String, &Value)> {
    mapping.get("properties").and_then(Value::as_object).into_iter().flatten()
}

fn is_pattern(schema: &Value, pattern: &str) -> bool {
    schema.get("pattern").and_then(Value::as_str) == Some(pattern)
}

fn code(text: &str) -> String {
    format!("`{text}`")
}

fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(|first| first.to_uppercase().to_string()).unwrap_or_default();
    format!("{first}{}.", letters.as_str())
}

/// As hosts of repositories name headings.
fn anchor(title: &str) -> String {
    let kept = title.chars().filter(|letter| letter.is_alphanumeric() || matches!(letter, '-' | '_' | ' '));
    kept.map(|letter| if letter == ' ' { '-' } else { letter }).collect::<String>().to_lowercase()
}
