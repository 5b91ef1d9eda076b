//! One request in the making: good until one thing of it is changed.

use std::sync::Arc;

use keybound::clock::Clock as _;
use keybound::refusal::Reason;
use keybound::request::Scheme;
use serde_json::{Value, json};

use super::keys::Key;
use super::mint::{self, Jws};
use super::wire::{Answer, Dialer, Http, Message};
use super::{AUDIENCE, HOST, ISSUER, Identity, ROUTE, World};

/// Which of the two good requests this one was.
#[derive(Clone)]
enum Kind {
    Dpop,
    Mtls { identity_x5t: String },
}

#[derive(Clone)]
pub struct Shot {
    kind: Kind,
    dialer: Dialer,
    pub scheme: &'static str,
    pub token: Jws,
    /// Replaces the token's text.
    pub token_text: Option<String>,
    pub proof: Option<Jws>,
    /// Replaces the `DPoP` field lines.
    pub proof_lines: Option<Vec<Vec<u8>>>,
    /// Replaces the `Authorization` field lines; `{}` stands for the token.
    pub authorization_lines: Option<Vec<String>>,
    pub method: String,
    pub target: String,
    pub host: Option<String>,
    pub headers: Vec<(String, Vec<u8>)>,
    pub body: Vec<u8>,
    /// Whether `ath` is filled in from the token.
    pub fill_ath: bool,
    /// Whether each sending makes a new `jti`.
    pub fresh: bool,
    /// Whether the gateway hands out nonces.
    pub nonces: bool,
    /// Whether scripts of [`super::APP`] may read.
    pub cors: bool,
    /// What challenges say about metadata.
    pub resource_metadata: Option<String>,
    /// The route that counts the refusal, where the default is wrong.
    pub route: Option<&'static str>,
}

impl Shot {
    pub fn dpop(world: &World, key: &Arc<Key>) -> Self {
        let now = world.now();
        let cnf = json!({"jkt": key.thumbprint()});
        Self {
            kind: Kind::Dpop,
            dialer: world.dialer.clone(),
            scheme: "DPoP",
            token: mint::access_token(ISSUER, AUDIENCE, &world.issuer_key, cnf, now),
            token_text: None,
            proof: Some(mint::proof(key, "GET", "https://rs.example/api/item", now)),
            proof_lines: None,
            authorization_lines: None,
            method: "GET".to_owned(),
            target: "/api/item?q=1".to_owned(),
            host: Some(HOST.to_owned()),
            headers: Vec::new(),
            body: Vec::new(),
            fill_ath: true,
            fresh: true,
            nonces: world.nonces.is_some(),
            cors: world.cors,
            resource_metadata: world.resource_metadata.clone(),
            route: None,
        }
        .with(|shot| {
            if let Some(nonces) = &world.nonces {
                let nonce = nonces.mint(world.clock.now()).unwrap();
                shot.proof_mut().claims.insert("nonce".to_owned(), nonce.into());
            }
        })
    }

    pub fn mtls(world: &World, identity: &Identity) -> Self {
        let x5t = identity.x5t();
        let mut shot = Self::dpop(world, &world.k1);
        shot.dialer = world.dial_as(identity);
        shot.scheme = "Bearer";
        shot.token.claims["cnf"] = json!({"x5t#S256": x5t});
        shot.proof = None;
        shot.kind = Kind::Mtls { identity_x5t: x5t };
        shot
    }

    /// A good request of the same kind, over the same way.
    pub fn good_sibling(&self, world: &World) -> Self {
        let mut good = Self::dpop(world, &world.k1);
        if let Kind::Mtls { identity_x5t } = &self.kind {
            good.dialer = self.dialer.clone();
            good.scheme = "Bearer";
            good.proof = None;
            good.token.claims["cnf"] = json!({"x5t#S256": identity_x5t});
            if self.dialer.tls.as_ref().is_some_and(|tls| !tls.client_auth_cert_resolver.has_certs()) {
                // The mistake was to come without a certificate; what is good here is the other kind.
                return Self::dpop(world, &world.k1);
            }
        }
        good
    }

    // What may be changed, in words.

    pub fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    pub fn proof_header(self, name: &str, value: impl Into<Value>) -> Self {
        let value = value.into();
        self.with(|shot| drop(shot.proof_mut().header.insert(name.to_owned(), value)))
    }

    pub fn no_proof_header(self, name: &str) -> Self {
        self.with(|shot| drop(shot.proof_mut().header.remove(name)))
    }

    /// A member of the proof's `jwk`.
    pub fn jwk(self, name: &str, value: impl Into<Value>) -> Self {
        let value = value.into();
        self.with(|shot| shot.proof_mut().header["jwk"][name] = value)
    }

    pub fn no_jwk(self, name: &str) -> Self {
        self.with(|shot| drop(shot.proof_mut().header["jwk"].as_object_mut().unwrap().remove(name)))
    }

    pub fn proof_claim(self, name: &str, value: impl Into<Value>) -> Self {
        let (name, value) = (name.to_owned(), value.into());
        self.with(|shot| {
            match name.as_str() {
                "ath" => shot.fill_ath = false,
                "jti" => shot.fresh = false,
                _ => {}
            }
            shot.proof_mut().claims.insert(name, value);
        })
    }

    pub fn no_proof_claim(self, name: &str) -> Self {
        self.with(|shot| {
            match name {
                "ath" => shot.fill_ath = false,
                "jti" => shot.fresh = false,
                _ => {}
            }
            shot.proof_mut().claims.remove(name);
        })
    }

    /// Edits the compact form of the proof.
    pub fn proof_text(self, edit: impl Fn(String) -> String + Send + Sync + 'static) -> Self {
        self.with(|shot| shot.proof_mut().edit = Some(Arc::new(edit)))
    }

    pub fn token_header(self, name: &str, value: impl Into<Value>) -> Self {
        let value = value.into();
        self.with(|shot| drop(shot.token.header.insert(name.to_owned(), value)))
    }

    pub fn no_token_header(self, name: &str) -> Self {
        self.with(|shot| drop(shot.token.header.remove(name)))
    }

    pub fn claim(self, name: &str, value: impl Into<Value>) -> Self {
        let value = value.into();
        self.with(|shot| drop(shot.token.claims.insert(name.to_owned(), value)))
    }

    pub fn no_claim(self, name: &str) -> Self {
        self.with(|shot| drop(shot.token.claims.remove(name)))
    }

    /// Edits the compact form of the token.
    pub fn token_edit(self, edit: impl Fn(String) -> String + Send + Sync + 'static) -> Self {
        self.with(|shot| shot.token.edit = Some(Arc::new(edit)))
    }

    pub fn scheme(self, scheme: &'static str) -> Self {
        self.with(|shot| shot.scheme = scheme)
    }

    pub fn header(self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.with(|shot| shot.headers.push((name.to_owned(), value.as_ref().to_vec())))
    }

    /// Another method, proven.
    pub fn method(self, method: &str) -> Self {
        self.with(|shot| method.clone_into(&mut shot.method)).proof_claim("htm", method)
    }

    /// Another target, without a word of proof about it.
    pub fn target_only(self, target: &str) -> Self {
        self.with(|shot| target.clone_into(&mut shot.target))
    }

    /// Another target, proven: `htu` is the whole of it without query.
    pub fn target(self, target: &str) -> Self {
        let path = target.split(['?', '#']).next().unwrap();
        let htu = format!("https://{HOST}{path}");
        self.with(|shot| target.clone_into(&mut shot.target)).proof_claim("htu", htu)
    }

    pub fn body(self, body: impl Into<Vec<u8>>) -> Self {
        self.with(|shot| shot.body = body.into())
    }

    pub fn no_proof(self) -> Self {
        self.with(|shot| shot.proof = None)
    }

    pub fn authorization(self, lines: &[&str]) -> Self {
        self.with(|shot| shot.authorization_lines = Some(lines.iter().map(|line| (*line).to_owned()).collect()))
    }

    pub fn proof_field(self, lines: &[&str]) -> Self {
        self.with(|shot| shot.proof_lines = Some(lines.iter().map(|line| line.as_bytes().to_vec()).collect()))
    }

    pub const fn dialer(&self) -> &Dialer {
        &self.dialer
    }

    pub fn dial(self, dialer: Dialer) -> Self {
        self.with(|shot| shot.dialer = dialer)
    }

    pub fn on_route(self, route: &'static str) -> Self {
        self.with(|shot| shot.route = Some(route))
    }

    /// Sends the very same bytes each time.
    pub fn frozen(mut self) -> Self {
        let token = self.token_text();
        self.token_text = Some(token.clone());
        if let Some(proof) = self.proof_compact(&token) {
            self.proof_lines = Some(vec![proof.into_bytes()]);
        }
        self
    }

    fn proof_mut(&mut self) -> &mut Jws {
        self.proof.as_mut().expect("a shot with a proof")
    }

    pub fn token_text(&self) -> String {
        self.token_text.clone().unwrap_or_else(|| self.token.compact())
    }

    /// The proof for this token.
    pub fn proof_compact(&self, token: &str) -> Option<String> {
        let mut proof = self.proof.clone()?;
        if self.fresh {
            proof.claims.insert("jti".into(), mint::jti().into());
        }
        if self.fill_ath {
            proof.claims.insert("ath".into(), mint::ath(token).into());
        }
        Some(proof.compact())
    }

    pub fn message(&self) -> Message {
        let token = self.token_text();
        let mut headers = Vec::new();
        match &self.authorization_lines {
            Some(lines) => {
                headers.extend(
                    lines.iter().map(|line| ("Authorization".to_owned(), line.replace("{}", &token).into_bytes())),
                );
            }
            None => headers.push(("Authorization".to_owned(), format!("{} {token}", self.scheme).into_bytes())),
        }
        match &self.proof_lines {
            Some(lines) => headers.extend(lines.iter().map(|line| ("DPoP".to_owned(), line.clone()))),
            None => headers.extend(self.proof_compact(&token).map(|proof| ("DPoP".to_owned(), proof.into_bytes()))),
        }
        headers.extend(self.headers.iter().cloned());
        Message {
            method: self.method.clone(),
            target: self.target.clone(),
            host: self.host.clone(),
            headers,
            body: self.body.clone(),
        }
    }

    pub async fn send(&self, http: Http) -> Answer {
        self.dialer
            .send(http, &self.message())
            .await
            .unwrap_or_else(|error| panic!("no answer to {}: {error}", self.what()))
    }

    /// For messages of failed assertions.
    pub fn what(&self) -> String {
        let proof = self.proof.as_ref().map(|proof| (&proof.header, &proof.claims));
        format!("{} {} token {:?} {:?} proof {proof:?}", self.method, self.target, self.token.header, self.token.claims)
    }

    /// Whether anything of the secrets of this shot is in `text`.
    pub fn leaks_into(&self, text: &str) -> bool {
        let token = self.token_text();
        token.split('.').filter(|part| part.len() > 20).any(|part| text.contains(part))
    }

    pub fn expected_route(&self, reason: Reason) -> &'static str {
        let before_routing = matches!(
            reason,
            Reason::HostInvalid
                | Reason::TargetInvalid
                | Reason::ConnectionNominates
                | Reason::HopMalformed
                | Reason::HopUntrusted
                | Reason::MethodNotServed
                | Reason::AuthorityMisdirected
                | Reason::HeaderTooLarge
                | Reason::NoRoute
        );
        self.route.unwrap_or(if before_routing { "none" } else { ROUTE })
    }

    /// The scheme that the client used, as the test sees it.
    pub fn scheme_used(&self) -> Option<Scheme> {
        let first = match &self.authorization_lines {
            Some(lines) => lines.first()?.split([' ', '\t', ',']).next()?.to_ascii_lowercase(),
            None => self.scheme.to_ascii_lowercase(),
        };
        match first.as_str() {
            "dpop" => Some(Scheme::Dpop),
            "bearer" => Some(Scheme::Bearer),
            _ => None,
        }
    }
}
