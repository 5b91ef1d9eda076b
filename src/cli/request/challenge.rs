//! What a refusal says: the challenges of `WWW-Authenticate` (RFC 9110 §11.6.1).

use http::{HeaderMap, header};

/// One challenge: its scheme, and its parameters in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Challenge {
    scheme: String,
    parameters: Vec<(String, String)>,
}

impl Challenge {
    /// All challenges of an answer. What cannot be read is left out: this serves explanations.
    pub fn all(headers: &HeaderMap) -> Vec<Self> {
        let fields = headers.get_all(header::WWW_AUTHENTICATE).iter();
        fields.flat_map(|field| Reader { rest: &String::from_utf8_lossy(field.as_bytes()) }.challenges()).collect()
    }

    /// Its scheme, compared without case.
    pub fn is(&self, scheme: &str) -> bool {
        self.scheme.eq_ignore_ascii_case(scheme)
    }

    /// A parameter; names are compared without case.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// One line for a person: `DPoP invalid_token: The access token has expired.`
    pub fn explain(&self) -> String {
        let mut line = self.scheme.clone();
        if let Some(error) = self.parameter("error") {
            line.push(' ');
            line.push_str(error);
        }
        if let Some(description) = self.parameter("error_description") {
            line.push_str(": ");
            line.push_str(description);
        }
        for name in ["scope", "acr_values", "max_age", "algs"] {
            if let Some(value) = self.parameter(name) {
                line.extend([" (", name, ": ", value, ")"]);
            }
        }
        // The server chose the texts, and a terminal obeys control characters.
        line.replace(char::is_control, " ")
    }
}

struct Reader<'a> {
    rest: &'a str,
}

impl<'a> Reader<'a> {
    /// Commas separate both challenges and parameters: a name followed by `=` is a parameter, any other a scheme.
    fn challenges(mut self) -> Vec<Challenge> {
        let mut all: Vec<Challenge> = Vec::new();
        loop {
            self.skip(|c| c == ' ' || c == '\t' || c == ',');
            let name = self.take(is_token_char);
            if name.is_empty() {
                return all;
            }
            let before = self.rest;
            self.skip(|c| c == ' ' || c == '\t');
            if let Some(value) = self.value() {
                // Without a challenge before it, it belongs to none.
                if let Some(challenge) = all.last_mut() {
                    challenge.parameters.push((name.to_owned(), value));
                }
            } else {
                self.rest = before;
                all.push(Challenge { scheme: name.to_owned(), parameters: Vec::new() });
            }
        }
    }

    /// `= token` or `= "quoted"`, if that comes next.
    fn value(&mut self) -> Option<String> {
        self.rest = self.rest.strip_prefix('=')?;
        self.skip(|c| c == ' ' || c == '\t');
        let Some(quoted) = self.rest.strip_prefix('"') else { return Some(self.take(is_token_char).to_owned()) };
        let mut value = String::new();
        let mut chars = quoted.char_indices();
        while let Some((at, c)) = chars.next() {
            match c {
                '"' => {
                    self.rest = &quoted[at + 1..];
                    return Some(value);
                }
                '\\' => value.extend(chars.next().map(|(_, escaped)| escaped)),
                c => value.push(c),
            }
        }
        self.rest = "";
        Some(value)
    }

    fn skip(&mut self, what: impl Fn(char) -> bool) {
        self.rest = self.rest.trim_start_matches(what);
    }

    fn take(&mut self, what: impl Fn(char) -> bool) -> &'a str {
        let end = self.rest.find(|c| !what(c)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at(end);
        self.rest = rest;
        taken
    }
}

/// RFC 9110 §5.6.2.
fn is_token_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use proptest::prelude::*;

    fn read(fields: &[&str]) -> Vec<Challenge> {
        let mut headers = HeaderMap::new();
        for field in fields {
            headers.append(header::WWW_AUTHENTICATE, HeaderValue::from_bytes(field.as_bytes()).unwrap());
        }
        Challenge::all(&headers)
    }

    #[test]
    fn challenges_come_one_a_line_or_joined() {
        let dpop = r#"DPoP error="use_dpop_nonce", error_description="a \"nonce\", please", algs="ES256 PS256""#;
        let bearer = "Bearer realm = x,error=invalid_token";
        let separate = read(&[dpop, bearer]);
        assert_eq!(separate, read(&[&format!("{dpop}, {bearer}")]));
        assert!(separate[0].is("dpop") && separate[1].is("BEARER") && separate.len() == 2);
        assert_eq!(separate[0].parameter("Error"), Some("use_dpop_nonce"));
        assert_eq!(separate[0].explain(), r#"DPoP use_dpop_nonce: a "nonce", please (algs: ES256 PS256)"#);
        assert_eq!(separate[1].explain(), "Bearer invalid_token");
    }

    #[test]
    fn a_scheme_may_stand_alone() {
        let all = read(&["DPoP", "Negotiate, Basic realm=\"\""]);
        assert_eq!(all.iter().map(Challenge::explain).collect::<Vec<_>>(), ["DPoP", "Negotiate", "Basic"]);
        assert!(read(&[]).is_empty() && read(&["", ",,", "="]).is_empty());
    }

    #[test]
    fn an_error_inside_a_quoted_text_is_not_an_error() {
        let all = read(&[r#"DPoP realm="DPoP error=\"use_dpop_nonce\"""#]);
        assert_eq!((all.len(), all[0].parameter("error")), (1, None));
    }

    proptest! {
        #[test]
        fn never_panics(field in "[ -~\u{80}-\u{ff}\t]{0,60}") {
            for challenge in read(&[&field]) {
                prop_assert!(!challenge.explain().chars().any(char::is_control));
            }
        }
    }
}
