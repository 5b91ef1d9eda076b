//! `keybound key thumbprint`: what a token bound to a key or a certificate carries in `cnf`.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::Args;
use keybound::verify::{Json, Thumbprint, base64url};
use rustls::pki_types::pem::{PemObject as _, SectionKind};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use x509_parser::prelude::{FromDer as _, X509Certificate};
use x509_parser::x509::SubjectPublicKeyInfo;

use crate::cli::credentials;
use crate::cli::stdout;
use keybound::prover::{ProofKey, PublicJwk};

/// Print the thumbprints of keys and certificates.
///
/// Of a key: `jkt`, the SHA-256 JWK thumbprint (RFC 7638) that DPoP-bound tokens carry. Of a certificate:
/// `x5t#S256`, the SHA-256 of its DER that certificate-bound tokens carry, and the `jkt` of the key in it. Reads PEM
/// with private keys, public keys and certificates in any number, JWKs, JWK sets, and DER certificates.
#[derive(Debug, Args)]
pub struct ThumbprintArgs {
    /// Files with keys or certificates; - is standard input.
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,

    /// Print one JSON array instead of lines.
    #[arg(long)]
    json: bool,
}

/// One key or certificate, and what it is known by.
#[derive(Debug)]
struct Known {
    what: String,
    jkt: Option<Thumbprint>,
    x5t_s256: Option<String>,
}

impl ThumbprintArgs {
    /// Reads and prints.
    ///
    /// # Errors
    /// For `report`.
    pub fn run(&self) -> anyhow::Result<ExitCode> {
        let mut all = Vec::new();
        for file in &self.files {
            let name = file.display().to_string();
            let content = credentials::read(file).with_context(|| format!("cannot read {name}"))?;
            let known = identify(&content).with_context(|| format!("cannot tell what {name} holds"))?;
            all.extend(known.into_iter().map(|known| (name.clone(), known)));
        }
        let text = if self.json { as_json(&all) } else { as_lines(&all) };
        stdout::write(text.as_bytes())?;
        Ok(ExitCode::SUCCESS)
    }
}

fn as_lines(all: &[(String, Known)]) -> String {
    let lines = all.iter().flat_map(|(file, known)| {
        let x5t = known.x5t_s256.as_ref().map(|x5t| format!("x5t#S256  {x5t}  {file} ({})\n", known.what));
        let key = if known.x5t_s256.is_some() { "its key" } else { &known.what };
        let jkt = known.jkt.map(|jkt| format!("jkt       {jkt}  {file} ({key})\n"));
        x5t.into_iter().chain(jkt)
    });
    lines.collect()
}

fn as_json(all: &[(String, Known)]) -> String {
    let items = all.iter().map(|(file, known)| {
        let mut item = json!({ "file": file, "what": known.what });
        if let Some(jkt) = known.jkt {
            item["jkt"] = jkt.to_string().into();
        }
        if let Some(x5t) = &known.x5t_s256 {
            item["x5t#S256"] = x5t.as_str().into();
        }
        item
    });
    format!("{}\n", Value::Array(items.collect()))
}

fn identify(content: &[u8]) -> anyhow::Result<Vec<Known>> {
    let known = match content.trim_ascii_start().first() {
        Some(b'{') => identify_json(content)?,
        // A DER SEQUENCE.
        Some(0x30) => vec![certificate(content)?],
        _ => identify_pem(content)?,
    };
    if known.is_empty() {
        bail!("expected a key or a certificate as PEM, or a JWK");
    }
    Ok(known)
}

fn identify_json(content: &[u8]) -> anyhow::Result<Vec<Known>> {
    let json = Json::object(content).context("expected one strict JSON object")?;
    let Some(keys) = json.get("keys").and_then(Value::as_array) else { return Ok(vec![jwk(&json)?]) };
    let keys = keys.iter().enumerate().map(|(index, key)| {
        let members = key.as_object().with_context(|| format!("keys[{index}] is not an object"))?;
        jwk(&Json::from_members(members)).with_context(|| format!("keys[{index}]"))
    });
    keys.collect()
}

fn jwk(jwk: &Json) -> anyhow::Result<Known> {
    let half = if jwk.has("d") { "private" } else { "public" };
    Ok(key(half, &PublicJwk::from_jwk(jwk)?))
}

fn identify_pem(content: &[u8]) -> anyhow::Result<Vec<Known>> {
    let mut known = Vec::new();
    for section in <(SectionKind, Vec<u8>)>::pem_slice_iter(content) {
        let (kind, der) = section.ok().context("broken PEM")?;
        match kind {
            SectionKind::Certificate => known.push(certificate(&der)?),
            SectionKind::PublicKey => known.push(public_key(&der)?),
            _ => {}
        }
    }
    match ProofKey::from_pem(content) {
        Ok(private) => known.push(key("private", private.public())),
        Err(error) if known.is_empty() => return Err(error.into()),
        Err(_) => {}
    }
    Ok(known)
}

fn public_key(der: &[u8]) -> anyhow::Result<Known> {
    let (_, spki) = SubjectPublicKeyInfo::from_der(der).ok().context("broken public key")?;
    Ok(key("public", &PublicJwk::from_spki(&spki)?))
}

fn certificate(der: &[u8]) -> anyhow::Result<Known> {
    let (rest, certificate) = X509Certificate::from_der(der).ok().context("expected a certificate")?;
    // Bytes behind it would be hashed along, and no TLS stack sends them.
    if !rest.is_empty() {
        bail!("{} bytes follow the certificate", rest.len());
    }
    // A stranger chose the name, and a terminal obeys control characters.
    let subject: String = certificate.subject().to_string().chars().filter(|c| !c.is_control()).collect();
    Ok(Known {
        what: if subject.is_empty() { "certificate".to_owned() } else { format!("certificate of {subject}") },
        jkt: PublicJwk::from_spki(certificate.public_key()).ok().map(|key| key.thumbprint()),
        x5t_s256: Some(base64url::encode(&Sha256::digest(der))),
    })
}

fn key(half: &str, key: &PublicJwk) -> Known {
    Known { what: format!("{} {half} key", key.kind()), jkt: Some(key.thumbprint()), x5t_s256: None }
}
