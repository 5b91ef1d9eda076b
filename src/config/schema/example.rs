//! What `config.example.yaml` says of each field, so that an editor and the reference show it.

use serde_json::Value;

const EXAMPLE: &str = include_str!("../../../config.example.yaml");

/// A field of the example, its value there and the comment behind it.
#[derive(Debug, PartialEq, Eq)]
pub struct Shown {
    path: Vec<String>,
    /// As it stands there; empty where a mapping begins.
    pub value: String,
    /// The whole comment.
    pub text: Option<String>,
}

/// What a comment says, taken apart.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Remark {
    /// Whether only a restart brings a change into force.
    pub restart: bool,
    /// Whether, and when, the field must be there.
    pub required: Option<String>,
    /// What leaving it out means, where that is not the value that the example shows.
    pub default: Option<String>,
    /// The rest.
    pub meaning: String,
}

impl Shown {
    /// The comment, taken apart.
    pub fn remark(&self) -> Remark {
        let mut remark = Remark::default();
        let mut rest = Vec::new();
        for part in self.text.iter().flat_map(|text| text.split("; ")) {
            // Behind other words it is one of them.
            let is_first = rest.is_empty() && remark.required.is_none();
            if part == "restart" {
                remark.restart = true;
            } else if let Some(default) = part.strip_prefix("default: ") {
                remark.default = Some(default.to_owned());
            } else if is_first && part.starts_with("required") && !part.starts_with("required for") {
                let (required, meaning) = part.split_once(": ").unwrap_or((part, ""));
                remark.required = Some(required.to_owned());
                rest.extend(Some(meaning).filter(|meaning| !meaning.is_empty()));
            } else if !(part.starts_with("or") && part.ends_with(':')) {
                rest.push(part);
            }
        }
        let meaning = rest.join("; ");
        let meaning = meaning.strip_suffix("or example:").map_or(&*meaning, |cut| &cut[..cut.len().saturating_sub(1)]);
        meaning.trim_end_matches([' ', ',', '.']).clone_into(&mut remark.meaning);
        remark
    }
}

/// Adds the example's comments and defaults to a schema. What the example shows and the schema does not know is passed
/// over.
pub fn describe(schema: &mut Value) {
    for (pointer, shown) in fields(schema) {
        let Some(property) = schema.pointer_mut(&pointer).and_then(Value::as_object_mut) else { continue };
        let Remark { required, default, .. } = shown.remark();
        if required.is_none() && default.is_none() && !shown.value.is_empty() {
            property.extend(serde_yaml::from_str(&shown.value).ok().map(|value| ("default".to_owned(), value)));
        }
        property.extend(shown.text.map(|text| ("description".to_owned(), text.into())));
    }
}

/// All fields of the example in their order, each with the pointer to its schema.
pub fn fields(schema: &Value) -> Vec<(String, Shown)> {
    shown(EXAMPLE).into_iter().filter_map(|shown| Some((find(schema, &shown.path)?, shown))).collect()
}

/// All fields; one that is commented out counts as one that is there.
fn shown(example: &str) -> Vec<Shown> {
    let mut parents: Vec<(usize, String)> = Vec::new();
    let mut fields = Vec::new();
    for line in example.lines() {
        let line = line.replacen("- ", "  ", usize::from(line.trim_start().starts_with("- ")));
        let indented = line.trim_start();
        let written = indented.strip_prefix("# ").unwrap_or(indented);
        let indent = line.len() - indented.len() + written.len() - written.trim_start().len();
        let Some((name, rest)) = written.trim_start().split_once(':') else { continue };
        let is_name = name.starts_with(|first: char| first.is_ascii_lowercase())
            && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
        if !is_name || !(rest.is_empty() || rest.starts_with(' ')) {
            continue;
        }
        parents.retain(|(outer, _)| *outer < indent);
        parents.push((indent, name.to_owned()));
        let (value, text) = rest.split_once(" # ").map_or((rest, None), |(value, text)| (value, Some(text)));
        let path = parents.iter().map(|(_, name)| name.clone()).collect();
        let text = text.map(|text| text.trim().to_owned());
        fields.push(Shown { path, value: value.trim().to_owned(), text });
    }
    fields
}

/// The pointer to the schema of a field.
fn find(schema: &Value, path: &[String]) -> Option<String> {
    let mut at = String::new();
    for name in path {
        at = member(schema, &at, name)?;
    }
    Some(at)
}

/// The pointer to the schema of what stands under a name, behind whatever stands between.
fn member(schema: &Value, at: &str, name: &str) -> Option<String> {
    let here = schema.pointer(at)?;
    if here.pointer("/properties").is_some_and(|properties| properties.get(name).is_some()) {
        return Some(format!("{at}/properties/{name}"));
    }
    if let Some(reference) = here.get("$ref").and_then(Value::as_str) {
        return member(schema, reference.trim_start_matches('#'), name);
    }
    if here.get("items").is_some() {
        return member(schema, &format!("{at}/items"), name);
    }
    if here.get("additionalProperties").is_some_and(Value::is_object) {
        return Some(format!("{at}/additionalProperties"));
    }
    let any = here.get("anyOf")?.as_array()?;
    (0..any.len()).find_map(|index| member(schema, &format!("{at}/anyOf/{index}"), name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_remark_of_the_example_finds_its_field() {
        let schema = crate::config::schema();
        let remarks: Vec<Shown> = shown(EXAMPLE).into_iter().filter(|shown| shown.text.is_some()).collect();
        assert!(remarks.len() > 100, "{}", remarks.len());
        for Shown { path, text, .. } in &remarks {
            let pointer = find(&schema, path).unwrap_or_else(|| panic!("{path:?}"));
            assert_eq!(schema.pointer(&pointer).unwrap()["description"].as_str(), text.as_deref(), "{path:?}");
        }
    }

    #[test]
    fn fields_are_found_where_they_stand() {
        let example = "a:  # one\n  - b: x # two\n    # c: 1   # three\n# Try this: that # not\nd:\n  # e: #\n  # f:\n  #   g: 1 # four\n";
        let found: Vec<(String, String)> = shown(example)
            .into_iter()
            .filter_map(|shown| Some((format!("{} {}", shown.path.join("."), shown.value), shown.text?)))
            .collect();
        let expected = [("a ", "one"), ("a.b x", "two"), ("a.c 1", "three"), ("d.f.g 1", "four")];
        assert_eq!(found, expected.map(|(path, text)| (path.to_owned(), text.to_owned())));
    }

    #[test]
    fn comments_are_taken_apart() {
        let remark = |text: &str| {
            let text = Some(text.to_owned());
            let Remark { restart, required, default, meaning } =
                Shown { path: Vec::new(), value: String::new(), text }.remark();
            (restart, required.unwrap_or_default(), default.unwrap_or_default(), meaning)
        };
        let said = |restart, required: &str, default: &str, meaning: &str| {
            (restart, required.to_owned(), default.to_owned(), meaning.to_owned())
        };
        assert_eq!(remark("restart; required: a port"), said(true, "required", "", "a port"));
        assert_eq!(remark("required, at least one: a; b"), said(false, "required, at least one", "", "a; b"));
        assert_eq!(remark("how many; default: twice a; at most 3"), said(false, "", "twice a", "how many; at most 3"));
        assert_eq!(remark("off; required: a nonce"), said(false, "", "", "off; required: a nonce"));
        assert_eq!(remark("null: nobody asks; or:"), said(false, "", "", "null: nobody asks"));
        assert_eq!(remark("restart; required for `a: b`, for example:"), said(true, "", "", "required for `a: b`"));
        assert_eq!(remark("means 429. For example:"), said(false, "", "", "means 429"));
    }

    #[test]
    fn defaults_are_the_values_of_the_example() {
        let schema = crate::config::schema();
        let default = |pointer: &str| schema.pointer(pointer).unwrap().get("default").cloned();
        assert_eq!(default("/$defs/Dpop/properties/proof_lifetime"), Some("60s".into()));
        assert_eq!(default("/$defs/ListenerTls/properties/min_version"), Some("1.2".into()));
        assert_eq!(default("/$defs/Introspection/properties/cache"), Some("60s".into()));
        assert_eq!(default("/$defs/Issuer/properties/token_types"), Some(serde_json::json!(["at+jwt"])));
        assert_eq!(default("/$defs/Issuer/properties/introspection"), Some(Value::Null));
        for none in ["Issuer/properties/issuer", "AccessLimits/properties/burst", "Keys/properties/jwks_uri"] {
            assert_eq!(default(&format!("/$defs/{none}")), None, "{none}");
        }
    }
}
