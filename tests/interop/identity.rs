//! What the API is told of its callers, verified as an API would do it: by the `jose` package, with the keys that the
//! gateway publishes.

use serde_json::Value;

use crate::stage::{Api, Certificates, Gateway, Running, UPSTREAM, node};

/// Verifies what came with each request.
pub fn verify_all(certificates: &Certificates, gateway: &Gateway, api: &Api, subject: &str) {
    let assertions = api.values("x-identity");
    assert_eq!(assertions.len(), api.requests().len(), "each request has one");
    certificates.write("assertions", &assertions.join("\n"));
    let mut verifier = node("identity.mjs");
    verifier
        .env("JWKS", format!("http://{}/identity/jwks.json", gateway.admin))
        .env("AUDIENCE", UPSTREAM)
        .env("ASSERTIONS", certificates.file("assertions"));
    let mut verifier = Running::start(verifier, &certificates.file("verifier.log"));
    let lines = verifier.rest();
    assert_eq!(lines.len(), assertions.len(), "{lines:?} {}", verifier.complaints());
    let binding = if subject == "mtls-client" { "mtls" } else { "dpop" };
    let named = if subject == "mtls-client" { "x5t#S256" } else { "jkt" };
    let mut names = Vec::new();
    for line in lines {
        let claims: Value = serde_json::from_str(&line).unwrap();
        assert_eq!((&claims["sub"], &claims["binding"]), (&subject.into(), &binding.into()), "{claims}");
        assert_eq!(claims["cnf"][named].as_str().map(str::len), Some(43), "{claims}");
        assert!(claims["htu"].as_str().unwrap().starts_with("https://localhost:"), "{claims}");
        names.push(claims["jti"].as_str().unwrap().to_owned());
    }
    names.sort();
    names.dedup();
    assert_eq!(names.len(), assertions.len(), "each names its own request");
}
