//! One question about a token that nobody issued; for whoever checks a deployment.

use tokio::time::timeout;

use super::endpoint::Endpoint;
use super::settings::{AnswerForm, IntrospectionSettings};
use crate::time::UnixTime;
use crate::verify::Json;

/// No server ever issued it, and it is no secret.
const NOBODYS: &str = "keybound-doctor.a-token-that-nobody-issued";

/// What the endpoint said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Probed {
    /// The token is not active, as it should be.
    Inactive,
    /// Something signed, which is not looked into.
    Signed,
    /// The token is active: this endpoint would say so of anything.
    Active,
}

/// Asks as the gateway would ask.
///
/// # Errors
/// Why there is no answer, or none that can be understood, in words. Never a secret.
pub async fn probe(settings: IntrospectionSettings, now: UnixTime) -> Result<Probed, String> {
    let endpoint = Endpoint::new(settings).map_err(|error| error.to_string())?;
    let asked = timeout(endpoint.timeout(), endpoint.ask(NOBODYS, now)).await;
    let answer = asked.unwrap_or_else(|_| Err(endpoint.too_slow())).map_err(|failure| failure.to_string())?;
    if endpoint.form() == AnswerForm::Jwt {
        return Ok(Probed::Signed);
    }
    match Json::object(&answer).and_then(|answer| answer.get("active")?.as_bool()) {
        Some(false) => Ok(Probed::Inactive),
        Some(true) => Ok(Probed::Active),
        None => Err(format!("{}: expected an \"active\" of true or false, found none", endpoint.place())),
    }
}
