//! What `config.example.yaml` says of each field, so that an editor shows it.

use serde_json::Value;

const EXAMPLE: &str = include_str!("../../../config.example.yaml");

/// A field and the comment behind it.
#[derive(Debug, PartialEq, Eq)]
struct Remark {
    path: Vec<String>,
    text: String,
}

/// Adds the example's comments to a schema. What the example shows and the schema does not know is passed over.
pub fn describe(schema: &mut Value) {
    for Remark { path, text } in remarks(EXAMPLE) {
        let Some(pointer) = find(schema, &path) else { continue };
        if let Some(property) = schema.pointer_mut(&pointer).and_then(Value::as_object_mut) {
            property.insert("description".to_owned(), text.into());
        }
    }
}

/// All remarks; a field that is commented out counts as one that is there.
fn remarks(example: &str) -> Vec<Remark> {
    let mut parents: Vec<(usize, String)> = Vec::new();
    let mut remarks = Vec::new();
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
        if let Some((_, text)) = rest.split_once(" # ") {
            let path = parents.iter().map(|(_, name)| name.clone()).collect();
            remarks.push(Remark { path, text: text.trim().to_owned() });
        }
    }
    remarks
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
        let remarks = remarks(EXAMPLE);
        assert!(remarks.len() > 100, "{}", remarks.len());
        for Remark { path, text } in &remarks {
            let pointer = find(&schema, path).unwrap_or_else(|| panic!("{path:?}"));
            assert_eq!(schema.pointer(&pointer).unwrap()["description"], *text, "{path:?}");
        }
    }

    #[test]
    fn fields_are_found_where_they_stand() {
        let example = "a:  # one\n  - b: x # two\n    # c: 1   # three\n# Try this: that # not\nd:\n  # e: #\n  # f:\n  #   g: 1 # four\n";
        let found: Vec<(String, String)> =
            remarks(example).into_iter().map(|remark| (remark.path.join("."), remark.text)).collect();
        let expected = [("a", "one"), ("a.b", "two"), ("a.c", "three"), ("d.f.g", "four")];
        assert_eq!(found, expected.map(|(path, text)| (path.to_owned(), text.to_owned())));
    }
}
