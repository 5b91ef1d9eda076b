//! Does the caller possess the key that its token names? The token's `cnf` decides what must be proven
//! (RFC 9449 §7.2, RFC 8705 §3); what a route accepts can only tighten that.

use http::Method;
use subtle::ConstantTimeEq as _;

use super::access_token::AccessToken;
use super::confirmation::Confirmation;
use super::dpop::{self, Expected, Proof, ProofKeys};
use super::jwk::Thumbprint;
use super::rules::ProofRules;
use crate::refusal::{Reason, Refusal};
use crate::request::{ClientCertificate, ProofField, Scheme, Target};
use crate::time::UnixTime;

/// Which tokens a route accepts, by what they are bound to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accepted {
    /// RFC 9449: a key named by `cnf.jkt`.
    pub dpop: bool,
    /// RFC 8705: a certificate named by `cnf.x5t#S256`.
    pub mtls: bool,
    /// No `cnf` at all, as plain Bearer: for the time of a migration.
    pub unbound: bool,
}

impl Default for Accepted {
    fn default() -> Self {
        Self { dpop: true, mtls: true, unbound: false }
    }
}

/// What the caller showed, all of the same request.
#[derive(Debug, Clone, Copy)]
pub struct Presentation<'a> {
    /// The scheme that the token came under.
    pub scheme: Scheme,
    /// The `DPoP` field.
    pub proof: &'a ProofField,
    /// The certificate whose possession the TLS handshake proved.
    pub certificate: Option<&'a ClientCertificate>,
    /// The request's method.
    pub method: &'a Method,
    /// The request's target.
    pub target: &'a Target,
}

/// What possession was proven of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Binding {
    /// Nothing: an unbound token on a route that accepts them.
    None,
    /// A proof key.
    Dpop,
    /// A certificate.
    Mtls,
    /// Both.
    Both,
}

impl Binding {
    /// All of them, for metrics.
    pub const ALL: [Self; 4] = [Self::None, Self::Dpop, Self::Mtls, Self::Both];

    /// Metric label and log field.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Dpop => "dpop",
            Self::Mtls => "mtls",
            Self::Both => "dpop+mtls",
        }
    }
}

/// What must be proven for a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Demand {
    /// A fresh proof by this key.
    pub proof_by: Option<Thumbprint>,
    /// A handshake with the certificate of this SHA-256.
    pub certificate: Option<[u8; 32]>,
}

impl Demand {
    /// The table: scheme × confirmation × what the route accepts.
    ///
    /// # Errors
    /// [`Reason::TokenUnbound`], [`Reason::TokenNotDpopBound`], [`Reason::DpopTokenAsBearer`],
    /// [`Reason::BindingNotAccepted`].
    pub fn of(scheme: Scheme, confirmation: Option<&Confirmation>, accepted: Accepted) -> Result<Self, Refusal> {
        let Some(&Confirmation { jkt, x5t_s256 }) = confirmation else {
            return match scheme {
                Scheme::Bearer if accepted.unbound => Ok(Self { proof_by: None, certificate: None }),
                Scheme::Bearer => Err(Refusal::new(Reason::TokenUnbound).expected("cnf with jkt or x5t#S256")),
                Scheme::Dpop => Err(Refusal::new(Reason::TokenNotDpopBound).expected("cnf.jkt").found("no cnf")),
            };
        };
        match (scheme, jkt) {
            (Scheme::Bearer, Some(_)) => {
                return Err(Refusal::new(Reason::DpopTokenAsBearer).expected("the DPoP scheme and a proof"));
            }
            (Scheme::Dpop, None) => {
                return Err(Refusal::new(Reason::TokenNotDpopBound).expected("cnf.jkt").found("cnf.x5t#S256"));
            }
            (Scheme::Dpop, Some(_)) | (Scheme::Bearer, None) => {}
        }
        // A token bound twice proves both, and one accepted kind among them is enough to be let in.
        if !(jkt.is_some() && accepted.dpop || x5t_s256.is_some() && accepted.mtls) {
            let found = if jkt.is_some() { "cnf.jkt" } else { "cnf.x5t#S256" };
            return Err(Refusal::new(Reason::BindingNotAccepted).expected("another kind of binding").found(found));
        }
        Ok(Self { proof_by: jkt, certificate: x5t_s256 })
    }

    /// What it amounts to.
    pub const fn binding(&self) -> Binding {
        match (self.proof_by.is_some(), self.certificate.is_some()) {
            (false, false) => Binding::None,
            (true, false) => Binding::Dpop,
            (false, true) => Binding::Mtls,
            (true, true) => Binding::Both,
        }
    }
}

/// Evidence that a caller possesses all that its token names. Only [`prove`] makes one.
#[derive(Debug)]
pub struct Possession {
    proven: Demand,
    proof: Option<Proof>,
}

impl Possession {
    /// What was proven.
    pub const fn binding(&self) -> Binding {
        self.proven.binding()
    }

    /// The same, by key and certificate.
    pub const fn proven(&self) -> &Demand {
        &self.proven
    }

    /// The proof, which must be spent in the replay log before it counts.
    pub const fn proof(&self) -> Option<&Proof> {
        self.proof.as_ref()
    }
}

/// Checks everything that the token's confirmation demands. Does not check the token itself, and does not ask
/// the replay log.
///
/// # Errors
/// What [`Demand::of`] refuses, [`Reason::CertificateMissing`], [`Reason::CertificateMismatch`], and what
/// [`dpop::verify`] refuses.
pub fn prove(
    token: &AccessToken,
    shown: &Presentation<'_>,
    accepted: Accepted,
    rules: &ProofRules,
    keys: &impl ProofKeys,
    now: UnixTime,
) -> Result<Possession, Refusal> {
    let demand = Demand::of(shown.scheme, token.confirmation()?, accepted)?;
    if let Some(wanted) = &demand.certificate {
        check_certificate(wanted, shown.certificate)?;
    }
    let proof = match demand.proof_by {
        None => None,
        Some(key) => {
            let expected = Expected {
                method: shown.method.as_str(),
                external_url: shown.target.external_url(),
                token_hash: token.hash(),
                key,
            };
            Some(dpop::verify(shown.proof, &expected, rules, keys, now)?)
        }
    };
    Ok(Possession { proven: demand, proof })
}

/// RFC 8705 §3: the certificate of the handshake is the one that the token names.
pub(super) fn check_certificate(wanted: &[u8; 32], shown: Option<&ClientCertificate>) -> Result<(), Refusal> {
    let Some(certificate) = shown else {
        return Err(Refusal::new(Reason::CertificateMissing).expected("a client certificate").found("none"));
    };
    if bool::from(certificate.thumbprint.ct_eq(wanted)) {
        return Ok(());
    }
    let shown = |thumbprint: &[u8]| super::base64url::encode(thumbprint);
    Err(Refusal::new(Reason::CertificateMismatch)
        .expected(format!("x5t#S256 {}", shown(wanted)))
        .found(shown(&certificate.thumbprint)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scheme_and_confirmation_decide() {
        use Reason::{BindingNotAccepted, DpopTokenAsBearer, TokenNotDpopBound, TokenUnbound};
        let (key, certificate) = (Thumbprint([1; 32]), [2; 32]);
        let jkt = Confirmation { jkt: Some(key), x5t_s256: None };
        let x5t = Confirmation { jkt: None, x5t_s256: Some(certificate) };
        let both = Confirmation { jkt: Some(key), x5t_s256: Some(certificate) };
        let all = Accepted { dpop: true, mtls: true, unbound: true };
        let bound = Accepted::default();
        let dpop = Accepted { dpop: true, mtls: false, unbound: false };
        let mtls = Accepted { dpop: false, mtls: true, unbound: false };
        let ask = |scheme, cnf: Option<&Confirmation>, accepted| {
            Demand::of(scheme, cnf, accepted).map(|demand| demand.binding()).map_err(|refusal| refusal.reason())
        };
        use Scheme::{Bearer, Dpop};
        assert_eq!(ask(Bearer, None, all), Ok(Binding::None));
        assert_eq!(ask(Bearer, None, bound), Err(TokenUnbound));
        assert_eq!(ask(Dpop, None, all), Err(TokenNotDpopBound));
        assert_eq!(ask(Bearer, Some(&jkt), all), Err(DpopTokenAsBearer));
        assert_eq!(ask(Dpop, Some(&jkt), bound), Ok(Binding::Dpop));
        assert_eq!(ask(Bearer, Some(&x5t), bound), Ok(Binding::Mtls));
        assert_eq!(ask(Dpop, Some(&x5t), all), Err(TokenNotDpopBound));
        assert_eq!(ask(Bearer, Some(&both), all), Err(DpopTokenAsBearer));
        assert_eq!(ask(Dpop, Some(&both), dpop), Ok(Binding::Both));
        assert_eq!(ask(Dpop, Some(&both), mtls), Ok(Binding::Both));
        assert_eq!(ask(Dpop, Some(&jkt), mtls), Err(BindingNotAccepted));
        assert_eq!(ask(Bearer, Some(&x5t), dpop), Err(BindingNotAccepted));
    }
}
