//! `${NAME}` and `${NAME:-default}` inside a text; `$$` is a dollar sign.

use super::values::quoted;

/// Puts the environment's values in. A value is taken as it is: a `$` inside it means nothing.
///
/// # Errors
/// What is wrong, and how to do it right.
pub fn expand(text: &str, environment: &dyn Fn(&str) -> Option<String>) -> Result<String, (String, String)> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(before);
        rest = match after.as_bytes().first() {
            Some(b'$') => {
                out.push('$');
                &after[1..]
            }
            Some(b'{') => {
                let (inside, behind) = after[1..].split_once('}').ok_or_else(|| {
                    ("`${` is not closed by `}`".to_owned(), "a literal dollar sign is written `$$`".to_owned())
                })?;
                out.push_str(&variable(inside, environment)?);
                behind
            }
            _ => {
                out.push('$');
                after
            }
        };
    }
    out.push_str(rest);
    Ok(out)
}

fn variable(inside: &str, environment: &dyn Fn(&str) -> Option<String>) -> Result<String, (String, String)> {
    let (name, default) = inside.split_once(":-").map_or((inside, None), |(name, default)| (name, Some(default)));
    let shaped = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    if name.is_empty() || name.as_bytes()[0].is_ascii_digit() || !name.bytes().all(shaped) {
        return Err((
            format!("{} is not the name of an environment variable", quoted(name)),
            "write `${NAME}` or `${NAME:-default}`; a literal dollar sign is written `$$`".to_owned(),
        ));
    }
    match (environment(name), default) {
        // As in a shell, an empty variable takes the default too.
        (Some(value), Some(default)) if value.is_empty() => Ok(default.to_owned()),
        (Some(value), _) => Ok(value),
        (None, Some(default)) => Ok(default.to_owned()),
        (None, None) => Err((
            format!("the environment variable `{name}` is not set"),
            format!("set it, or give it a default: `${{{name}:-…}}`"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn with_port(text: &str) -> Result<String, (String, String)> {
        expand(text, &|name| match name {
            "PORT" => Some("8443".to_owned()),
            "EMPTY" => Some(String::new()),
            "DOLLAR" => Some("${PORT}".to_owned()),
            _ => None,
        })
    }

    #[test]
    fn values_and_defaults_are_put_in() {
        for (text, expanded) in [
            ("0.0.0.0:${PORT}", "0.0.0.0:8443"),
            ("${PORT}${PORT}", "84438443"),
            ("${NONE:-x}", "x"),
            ("${NONE:-}", ""),
            ("${EMPTY:-x}", "x"),
            ("${EMPTY}", ""),
            ("${PORT:-x}", "8443"),
            ("$${PORT}", "${PORT}"),
            ("a$b$", "a$b$"),
            ("${DOLLAR}", "${PORT}"),
        ] {
            assert_eq!(with_port(text).as_deref(), Ok(expanded), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_put_in_is_an_error() {
        for text in ["${NONE}", "${PORT", "${}", "${1A}", "${A-B}", "${ PORT }", "${:-x}"] {
            assert!(with_port(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in "[$:{}A-Z\u{20AC}-]{0,20}") {
            let _ = with_port(&text);
        }
    }
}
