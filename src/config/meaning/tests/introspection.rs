//! Who is asked about opaque tokens.

use super::{errors, read_beside, refused_beside};
use crate::introspect::{AnswerForm, ClientAuthentication};
use crate::prover::ProofKey;
use crate::verify::Algorithm;

const ENDPOINT: &str = "endpoint: https://auth.example.com/introspect, client_id: api";

/// A secret, a key that signs, and a certificate with its key, in files.
fn files() -> Vec<(&'static str, String)> {
    let key = ProofKey::generate(Algorithm::Es256).unwrap();
    let own = rcgen::generate_simple_self_signed(["gateway".to_owned()]).unwrap();
    vec![
        ("client.txt", " s3cret \n".to_owned()),
        ("empty", "\n".to_owned()),
        ("blank", " \t \n".to_owned()),
        ("key.json", key_in_json()),
        ("key.pem", key.to_pem().unwrap().to_string()),
        ("tls.crt", own.cert.pem()),
        ("tls.key", own.signing_key.serialize_pem()),
    ]
}

/// A private JWK with a `kid` (RFC 8037, appendix A.1).
fn key_in_json() -> String {
    r#"{"kty":"OKP","crv":"Ed25519","kid":"g1","d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#.to_owned()
}

fn issuer(more: &str) -> String {
    format!("    introspection: {{ {more} }}")
}

#[test]
fn what_is_written_is_what_is_meant() {
    let files = files();
    let files: Vec<_> = files.iter().map(|(name, text)| (*name, text.as_str())).collect();
    let read = |more: &str| {
        let text = super::changed("issuer", &issuer(more));
        let read = read_beside(&files, &text).unwrap_or_else(|report| panic!("{more}\n{}", report.render(false)));
        read.0.introspection.into_iter().next().unwrap()
    };
    let set = read(&format!("{ENDPOINT}, client_secret_file: client.txt"));
    assert_eq!((set.issuer.as_str(), set.client_id.as_str()), ("https://auth.example.com", "api"));
    assert_eq!(set.endpoint, "https://auth.example.com/introspect");
    // One newline at the end is the editor's; spaces are the secret's.
    assert!(matches!(&set.authentication, ClientAuthentication::Secret(secret) if secret.as_slice() == b" s3cret "));
    assert_eq!((set.form, set.cache.as_secs(), set.timeout.as_secs(), set.concurrency), (AnswerForm::Json, 60, 5, 64));
    assert!(!format!("{set:?}").contains("s3cret"));
    let set =
        read(&format!("{ENDPOINT}, signing_key_file: key.pem, response: jwt, cache: 0s, timeout: 1s, concurrency: 2"));
    assert!(matches!(set.authentication, ClientAuthentication::Assertion { kid: None, .. }));
    assert_eq!((set.form, set.cache.as_secs(), set.timeout.as_secs(), set.concurrency), (AnswerForm::Jwt, 0, 1, 2));
    let set = read(&format!("{ENDPOINT}, signing_key_file: key.json"));
    assert!(matches!(set.authentication, ClientAuthentication::Assertion { kid: Some(kid), .. } if kid == "g1"));
    let set = read(&format!("{ENDPOINT}, certificate_file: tls.crt, key_file: tls.key"));
    assert!(matches!(set.authentication, ClientAuthentication::Certificate(_)));
    read("endpoint: http://127.0.0.1:4000/introspect?tenant=1, client_id: api, client_secret_file: client.txt");
    let none = read_beside(&files, &super::changed("issuer", "    introspection: null")).unwrap();
    assert!(none.0.introspection.is_empty());
}

#[test]
fn mistakes_are_told_where_they_are() {
    let files = files();
    let files: Vec<_> = files.iter().map(|(name, text)| (*name, text.as_str())).collect();
    let secret = "client_secret_file: client.txt";
    for (more, field, message) in [
        (format!("client_id: api, {secret}"), "endpoint", "missing"),
        (format!("endpoint: http://auth.example.com/x, client_id: api, {secret}"), "endpoint", "expected an https URL"),
        (format!("endpoint: auth.example.com/x, client_id: api, {secret}"), "endpoint", "expected a URL"),
        (format!("endpoint: https://u@auth.example.com/x, client_id: api, {secret}"), "endpoint", "without user name"),
        (format!("endpoint: 'https://auth.example.com/x#y', client_id: api, {secret}"), "endpoint", "without fragment"),
        (format!("endpoint: https://auth.example.com/x, {secret}"), "client_id", "missing"),
        (format!("endpoint: https://auth.example.com/x, client_id: '', {secret}"), "client_id", "not empty"),
        (ENDPOINT.to_owned(), "", "the issuer answers nobody"),
        (format!("{ENDPOINT}, {secret}, signing_key_file: key.pem"), "signing_key_file", "found several"),
        (format!("{ENDPOINT}, {secret}, key_file: tls.key"), "key_file", "found several"),
        (format!("{ENDPOINT}, client_secret_file: missing"), "client_secret_file", "cannot be read"),
        (format!("{ENDPOINT}, client_secret_file: empty"), "client_secret_file", "found an empty file"),
        (format!("{ENDPOINT}, client_secret_file: blank"), "client_secret_file", "found an empty file"),
        (format!("{ENDPOINT}, signing_key_file: client.txt"), "signing_key_file", "expected a private key"),
        (format!("{ENDPOINT}, signing_key_file: tls.crt"), "signing_key_file", "found a certificate"),
        (format!("{ENDPOINT}, signing_key_file: missing"), "signing_key_file", "cannot be read"),
        (format!("{ENDPOINT}, certificate_file: tls.crt"), "certificate_file", "`key_file` belongs to it"),
        (format!("{ENDPOINT}, certificate_file: tls.crt, key_file: key.pem"), "key_file", "found another key"),
        (
            "endpoint: http://127.0.0.1:1/x, client_id: api, certificate_file: tls.crt, key_file: tls.key".to_owned(),
            "certificate_file",
            "does not begin with `https://`",
        ),
        (format!("{ENDPOINT}, {secret}, response: xml"), "response", "expected `json` or `jwt`"),
        (format!("{ENDPOINT}, {secret}, cache: 6m"), "cache", "at most 5m"),
        (format!("{ENDPOINT}, {secret}, timeout: 0s"), "timeout", "at least 1ms"),
        (format!("{ENDPOINT}, {secret}, concurrency: 0"), "concurrency", "a number from 1"),
        (format!("{ENDPOINT}, {secret}, token: x"), "token", "unknown field"),
    ] {
        let field = if field.is_empty() { String::new() } else { format!(".{field}") };
        let field = format!("issuers[0].introspection{field}");
        refused_beside(&files, &[("issuer", &issuer(&more), &field, message)]);
    }
}

#[test]
fn a_route_shows_opaque_tokens_to_one_issuer() {
    let files = [("client.txt", "s3cret")];
    let asked = "introspection: { endpoint: https://x/i, client_id: api, client_secret_file: client.txt }";
    let two = format!(
        "    {asked}\n  - issuer: https://two\n    audiences: [a]\n    {asked}\n  - {{ issuer: https://three, audiences: [a] }}"
    );
    let with = |route: &str| {
        let text = super::changed("issuer", &two).replace("    # route", &format!("    {route}"));
        read_beside(&files, &text).map(|_| ())
    };
    for bad in ["name: all", "access: { issuers: [https://two, https://auth.example.com] }"] {
        let report = with(bad).unwrap_err();
        let [only] = errors(&report)[..] else { panic!("{}", report.render(false)) };
        assert_eq!(only.field(), "routes[0].access.issuers");
        assert!(only.message().contains("`https://auth.example.com` or of `https://two`"), "{}", only.message());
        assert!(only.help().is_some_and(|help| help.contains("its own issuer only")));
    }
    for good in ["access: { issuers: [https://two, https://three] }", "access: { mode: public }"] {
        with(good).unwrap_or_else(|report| panic!("{good}\n{}", report.render(false)));
    }
}
