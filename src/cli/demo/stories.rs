//! What can happen to a token. Each story differs from a good one in one thing.

use http::Method;
use keybound::clock::{Clock as _, SystemClock};
use keybound::prover::{ProofKey, ProofRequest};
use keybound::refusal::Reason;
use serde_json::{Value, json};

use super::stage::Stage;

/// Stories about one kind of binding.
pub struct Act {
    pub title: &'static str,
    pub stories: Vec<Story>,
}

/// One request, and what must become of it.
pub struct Story {
    pub who: &'static str,
    pub what: &'static str,
    pub method: Method,
    pub path: &'static str,
    pub token: Option<(&'static str, String)>,
    pub proof: Option<String>,
    pub shown: Shown,
    /// `None`: it passes.
    pub expected: Option<Reason>,
}

/// Which certificate the caller shows in the handshake.
pub enum Shown {
    Nothing,
    ClientCertificate,
    ThiefCertificate,
}

const PATH: &str = "/orders";

/// Makes proofs for the demo's requests.
struct Prover<'a> {
    gateway: String,
    token: &'a str,
}

impl Prover<'_> {
    fn prove(&self, key: &ProofKey, method: &str, path: &str, seconds_ago: u64) -> anyhow::Result<String> {
        let issued_at = SystemClock.now() - std::time::Duration::from_secs(seconds_ago);
        let url = format!("{}{path}", self.gateway);
        let request = ProofRequest { method, url: &url, token: Some(self.token), nonce: None, issued_at, jti: None };
        Ok(key.prove(&request)?)
    }
}

fn story(who: &'static str, what: &'static str, expected: Option<Reason>) -> Story {
    Story { who, what, method: Method::GET, path: PATH, token: None, proof: None, shown: Shown::Nothing, expected }
}

/// The whole play.
pub fn acts(stage: &Stage) -> anyhow::Result<Vec<Act>> {
    Ok(vec![dpop(stage)?, mtls(stage)?, others(stage)?])
}

fn dpop(stage: &Stage) -> anyhow::Result<Act> {
    let now = SystemClock.now();
    let token = stage.issuer.token(&json!({ "jkt": stage.client.key.thumbprint().to_string() }), now)?;
    let prover = Prover { gateway: stage.gateway(), token: &token };
    let (client, thief) = (&stage.client.key, &stage.thief.key);
    let fresh = || prover.prove(client, "GET", PATH, 0);
    let first = fresh()?;
    let with = |story: Story, scheme: &'static str, proof: Option<String>| Story {
        token: Some((scheme, token.clone())),
        proof,
        ..story
    };
    let deletes = Story {
        method: Method::DELETE,
        ..story("thief", "the same proof for another method", Some(Reason::ProofMethod))
    };
    let elsewhere =
        Story { path: "/admin", ..story("thief", "the same proof for another URL", Some(Reason::ProofTarget)) };
    let other_token = stage.issuer.token(&json!({ "jkt": client.thumbprint().to_string() }), now)?;
    let other = Prover { gateway: stage.gateway(), token: &other_token };
    Ok(Act {
        title: "DPoP: the token names a key, and each request carries a fresh proof signed by it (RFC 9449)",
        stories: vec![
            with(story("client", "its token and a fresh proof", None), "DPoP", Some(first.clone())),
            with(story("client", "its token and the next proof", None), "DPoP", Some(fresh()?)),
            with(story("thief", "the stolen token, as Bearer", Some(Reason::DpopTokenAsBearer)), "Bearer", None),
            with(story("thief", "the stolen token, without a proof", Some(Reason::ProofMissing)), "DPoP", None),
            with(
                story("thief", "the stolen token, a proof by another key", Some(Reason::ProofKeyMismatch)),
                "DPoP",
                Some(prover.prove(thief, "GET", PATH, 0)?),
            ),
            with(
                story("thief", "token and proof, both stolen", Some(Reason::ProofReplayed)),
                "DPoP",
                Some(first.clone()),
            ),
            with(deletes, "DPoP", Some(first.clone())),
            with(elsewhere, "DPoP", Some(first)),
            with(
                story("thief", "a proof that was kept for five minutes", Some(Reason::ProofStale)),
                "DPoP",
                Some(prover.prove(client, "GET", PATH, 300)?),
            ),
            with(
                story("thief", "a proof that was made for another token", Some(Reason::ProofTokenHash)),
                "DPoP",
                Some(other.prove(client, "GET", PATH, 0)?),
            ),
        ],
    })
}

fn mtls(stage: &Stage) -> anyhow::Result<Act> {
    let token = stage.issuer.token(&json!({ "x5t#S256": stage.client.x5t }), SystemClock.now())?;
    let with = |story: Story, shown: Shown| Story { token: Some(("Bearer", token.clone())), shown, ..story };
    let missing = story("thief", "the stolen token, no certificate", Some(Reason::CertificateMissing));
    let other = story("thief", "the stolen token, another certificate", Some(Reason::CertificateMismatch));
    Ok(Act {
        title: "mTLS: the token names a certificate, and the TLS handshake proves possession of its key (RFC 8705)",
        stories: vec![
            with(story("client", "its token and its certificate", None), Shown::ClientCertificate),
            with(missing, Shown::Nothing),
            with(other, Shown::ThiefCertificate),
        ],
    })
}

fn others(stage: &Stage) -> anyhow::Result<Act> {
    let now = SystemClock.now();
    let jkt = json!({ "jkt": stage.client.key.thumbprint().to_string() });
    let with_proof = |story: Story, token: String| -> anyhow::Result<Story> {
        let prover = Prover { gateway: stage.gateway(), token: &token };
        let proof = Some(prover.prove(&stage.client.key, "GET", PATH, 0)?);
        Ok(Story { token: Some(("DPoP", token)), proof, ..story })
    };
    let unbound = stage.issuer.token(&Value::Null, now)?;
    let elsewhere = stage.issuer.token_for("https://localhost/payments", &jkt, now)?;
    let mut bent = stage.issuer.token(&jkt, now)?;
    let first = if bent.ends_with('A') { 'Q' } else { 'A' };
    bent.truncate(bent.len() - 1);
    bent.push(first);
    let plain = story("client", "an ordinary bearer token", Some(Reason::TokenUnbound));
    Ok(Act {
        title: "And what any gateway refuses",
        stories: vec![
            story("nobody", "no token", Some(Reason::CredentialsMissing)),
            Story { token: Some(("Bearer", unbound)), ..plain },
            with_proof(story("client", "a token for another API", Some(Reason::TokenAudience)), elsewhere)?,
            with_proof(story("thief", "a token with a bent signature", Some(Reason::TokenSignature)), bent)?,
        ],
    })
}
