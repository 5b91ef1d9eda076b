//! Secrets in a file that has no place for them: stars instead, in everything that is said about the file.
//!
//! Passwords have files of their own. Whoever put one into a URL or beside a name is told that this was wrong, and
//! should not find it in a log as well. Hiding too much does no harm.

/// Names behind which a secret stands.
const NAMES: [&str; 4] = ["password:", "passwd:", "secret:", "token:"];

/// The same text, byte for byte as long, with stars for what may be a secret.
pub fn without_secrets(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        let (start, end) = secret(line).unwrap_or((0, 0));
        out.push_str(&line[..start]);
        out.push_str(&"*".repeat(end - start));
        out.push_str(&line[end..]);
    }
    out
}

/// Where a line's secret begins and ends.
fn secret(line: &str) -> Option<(usize, usize)> {
    let lower = line.to_ascii_lowercase();
    let named = NAMES.iter().filter_map(|name| Some(lower.find(name)? + name.len())).min();
    if let Some(start) = named {
        let start = start + line[start..].len() - line[start..].trim_start().len();
        return Some((start, start.max(line.trim_end().len())));
    }
    // The user information of a URL ends with the last `@`, whatever is in it; several URLs are hidden as one.
    let end = line.rfind('@')?;
    let begins = |c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '[' | '`');
    let after = || line[..end].char_indices().rfind(|(_, c)| begins(*c)).map_or(0, |(at, c)| at + c.len_utf8());
    let start = line[..end].find("://").map_or_else(after, |at| at + 3);
    Some((start.min(end), end))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn secrets_become_stars_and_everything_else_stays() {
        for (line, shown) in [
            ("urls: ['redis://u:sesame@a']", "urls: ['redis://********@a']"),
            ("urls: ['redis://u:se/sa me\"@a', x]", "urls: ['redis://***********@a', x]"),
            ("urls: ['redis://u:p@ss@a']", "urls: ['redis://******@a']"),
            ("urls: [u:sesame@a:6379]", "urls: [********@a:6379]"),
            ("urls:\u{a0}u:sesame@a", "urls:\u{a0}********@a"),
            ("  password: open sesame\n", "  password: ***********\n"),
            ("{ client_secret: x, y: 1 }", "{ client_secret: *********"),
            ("password_file: a.txt", "password_file: a.txt"),
            ("issuer: https://auth.example.com", "issuer: https://auth.example.com"),
            ("password:", "password:"),
        ] {
            assert_eq!(without_secrets(line), shown);
            assert_eq!(without_secrets(&format!("a: 1\n{line}\nb: 2")), format!("a: 1\n{shown}\nb: 2"));
        }
    }

    proptest! {
        #[test]
        fn places_stay_where_they_are(text in "(\\PC|\n|@|://|password: |'){0,40}") {
            let shown = without_secrets(&text);
            prop_assert_eq!(shown.len(), text.len());
            prop_assert!(shown.matches('\n').count() == text.matches('\n').count());
        }
    }
}
