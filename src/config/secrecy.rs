//! Secrets in a file that has no place for them: stars instead, in everything that is said about the file.
//!
//! Passwords have files of their own. Whoever put one into a URL or beside a name is told that this was wrong, and
//! should not find it in a log as well. Hiding too much does no harm.

use std::ops::Range;

/// How names end behind which a secret stands, by their letters and digits.
const ENDINGS: [&str; 6] = ["password", "passwd", "passphrase", "secret", "token", "apikey"];

/// Such names that others end with as well.
const NAMES: [&str; 5] = ["pass", "pwd", "auth", "credential", "credentials"];

/// The same lines of a document, byte for byte as long, with stars for what may be a secret.
pub fn without_secrets(text: &str) -> String {
    with_stars(text, |line| {
        let named = named_secret(line).unwrap_or(line.len()..line.len());
        // What stands before a name may hide something as well.
        [user_information(&line[..named.start]).unwrap_or(0..0), named]
    })
}

/// The same sentences with stars for the user information of URLs. What a sentence quotes of a document went through
/// [`without_secrets`]; its own words, and names of files, may end with `secret:` and hide nothing.
pub fn without_user_information(text: &str) -> String {
    with_stars(text, |line| [user_information(line).unwrap_or(0..0)])
}

/// Stars in the places of each line, which come in order.
fn with_stars<const N: usize>(text: &str, places: impl Fn(&str) -> [Range<usize>; N]) -> String {
    let mut out = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        let mut from = 0;
        for Range { start, end } in places(line) {
            out.push_str(&line[from..start]);
            out.extend(std::iter::repeat_n('*', end - start));
            from = end;
        }
        out.push_str(&line[from..]);
    }
    out
}

/// What stands behind the first name of a secret, to the end of the line.
fn named_secret(line: &str) -> Option<Range<usize>> {
    let is_name = |at: usize| {
        let key = line[..at].trim_end();
        let key = key.strip_suffix(['"', '\'']).unwrap_or(key);
        let is_joined = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
        let name = &key[key.trim_end_matches(is_joined).len()..];
        let name: String = name.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase();
        ENDINGS.iter().any(|ending| name.ends_with(ending)) || NAMES.contains(&&*name)
    };
    let (at, _) = line.match_indices(':').find(|(at, _)| is_name(*at))?;
    let start = line.len() - line[at + 1..].trim_start().len();
    Some(start..start.max(line.trim_end().len()))
}

/// The user information of a URL ends with the last `@`, whatever is in it; several URLs are hidden as one. What is
/// hidden already stays as it is, and what was written before it is looked at.
fn user_information(line: &str) -> Option<Range<usize>> {
    let begins = |c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '[' | '`');
    let mut end = line.rfind('@')?;
    while line[..end].ends_with('*') {
        let shown = line[..end].trim_end_matches('*');
        if !(shown.ends_with("://") || shown.ends_with(begins) || shown.is_empty()) {
            break;
        }
        end = shown.rfind('@')?;
    }
    let before = &line[..end];
    let after = || before.char_indices().rfind(|(_, c)| begins(*c)).map_or(0, |(at, c)| at + c.len_utf8());
    let start = before.find("://").map_or_else(after, |at| at + 3);
    Some(start.min(end)..end)
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
            // Both on a line, in either order.
            ("{ urls: ['redis://:sesame@a'], password: x }", "{ urls: ['redis://*******@a'], password: ***"),
            ("urls: ['redis://:sesame@a'] # secret: u:p@b", "urls: ['redis://*******@a'] # secret: *****"),
            ("password: x@y, url: https://u:p@a", "password: ***********************"),
            // As JSON has it, and with spaces.
            ("{\"password\":\"sesame\"}", "{\"password\":*********"),
            ("'pass' : sesame", "'pass' : ******"),
            ("API-Key: sesame", "API-Key: ******"),
            ("auth: sesame", "auth: ******"),
            ("Credentials: sesame", "Credentials: ******"),
            ("bypass: sesame", "bypass: sesame"),
            ("allow_credentials: maybe", "allow_credentials: maybe"),
        ] {
            assert_eq!(without_secrets(line), shown);
            assert_eq!(without_secrets(&format!("a: 1\n{line}\nb: 2")), format!("a: 1\n{shown}\nb: 2"));
        }
    }

    #[test]
    fn sentences_keep_their_words() {
        for (sentence, shown) in [
            ("redis.password: cannot be read", "redis.password: cannot be read"),
            (
                "expected `https://a.example`, found `https://****@b`",
                "expected `https://a.example`, found `https://****@b`",
            ),
            ("found `u:sesame@a` and `https://****@b`", "found `********@a` and `https://****@b`"),
            ("found `https://u:sesame*@b`", "found `https://*********@b`"),
        ] {
            assert_eq!(without_user_information(sentence), shown);
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
