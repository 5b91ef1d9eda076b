//! Texts of a request, as people may see them.

/// A value of the request for the operator's eyes: short, and harmless in a log.
pub fn shown(value: &str) -> String {
    const LONGEST: usize = 200;
    value.chars().take(LONGEST).flat_map(char::escape_debug).collect()
}

/// The same text, at most so many bytes long.
pub fn cut(text: &str, most: usize) -> &str {
    &text[..text.floor_char_boundary(most)]
}

/// The same text with the rest of a word left out where it is as long as a SHA-256 in base64url or longer: thumbprints,
/// pieces of tokens, keys. What is left tells two of them apart.
pub fn without_long_words(text: &str) -> String {
    const AS_LONG: usize = 43;
    const LEFT: usize = 8;
    let is_of_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let is_word = is_of_word(first);
        let end = rest.find(|c| is_of_word(c) != is_word).unwrap_or(rest.len());
        let (piece, after) = rest.split_at(end);
        if is_word && piece.len() >= AS_LONG {
            out.push_str(cut(piece, LEFT));
            out.push('…');
        } else {
            out.push_str(piece);
        }
        rest = after;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::{Reason, Refusal};
    use super::*;

    #[test]
    fn long_words_lose_their_end() {
        let thumbprint = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I";
        for (text, left) in [
            (format!("cnf.jkt {thumbprint}"), "cnf.jkt 0ZcOCORZ…"),
            (format!("{thumbprint}.{thumbprint}"), "0ZcOCORZ….0ZcOCORZ…"),
            ("x".repeat(42), &*"x".repeat(42)),
            ("https://rs.example/é/a-b_c?".to_owned(), "https://rs.example/é/a-b_c?"),
            (String::new(), ""),
        ] {
            assert_eq!(without_long_words(&text), left);
        }
        let refusal = Refusal::new(Reason::ProofKeyMismatch).expected(format!("é{}", "y".repeat(300)));
        assert_eq!(refusal.shortened(2).what_was_expected(), Some("é"));
        assert_eq!(refusal.shortened(1).what_was_expected(), Some(""));
    }
}
