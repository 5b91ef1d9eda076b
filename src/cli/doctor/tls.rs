//! Whether a server can be reached, and the certificate that it shows.

use std::sync::Arc;

use http::Uri;
use keybound::clock::{Clock as _, SystemClock};
use keybound::forward::{Chain, Dialer, Tls, chain, host_name};
use keybound::keys::fetch;
use rustls::{ClientConfig, RootCertStore};
use tokio_rustls::TlsConnector;

use super::Circumstances;
use super::certificates;
use super::finding::{Finding, Subject};

/// Whether anything can be asked there. Notes how long the certificate is good, or why there is no connection.
pub async fn reaches(
    subject: Subject,
    uri: &Uri,
    roots: &Arc<RootCertStore>,
    circumstances: &Circumstances,
    findings: &mut Vec<Finding>,
) -> bool {
    match fetch::tls_config(Arc::clone(roots)) {
        Ok(config) => reaches_with(subject, uri, config, circumstances, findings).await,
        Err(error) => {
            findings.push(subject.skip(authority(uri), format!("TLS cannot be set up: {error}")));
            false
        }
    }
}

/// The same, with all that is to be shown and trusted there.
pub async fn reaches_with(
    subject: Subject,
    uri: &Uri,
    config: ClientConfig,
    circumstances: &Circumstances,
    findings: &mut Vec<Finding>,
) -> bool {
    let what = authority(uri);
    match connect(uri, config, circumstances).await {
        Ok(chain) if chain.is_empty() => true,
        Ok(chain) => {
            let what = format!("{what}, certificate");
            findings.push(certificates::validity(subject, &what, "", &chain, SystemClock.now()));
            true
        }
        Err(error) => {
            let expected = if is_https(uri) { "a TLS connection" } else { "a connection" };
            let advice = certificates::advice(&error);
            findings.push(subject.fail(what, expected, error, advice));
            false
        }
    }
}

fn authority(uri: &Uri) -> String {
    uri.authority().map(ToString::to_string).unwrap_or_default()
}

fn is_https(uri: &Uri) -> bool {
    uri.scheme_str() == Some("https")
}

async fn connect(uri: &Uri, config: ClientConfig, circumstances: &Circumstances) -> Result<Chain, String> {
    let authority = uri.authority().ok_or("no host in the URL")?;
    let tls = if is_https(uri) {
        let name = host_name(authority).ok_or("a host that no certificate can name")?;
        Some(Tls { connector: TlsConnector::from(Arc::new(config)), name, protocol: None })
    } else {
        None
    };
    let dialed = Dialer::new(authority, tls, circumstances.patience).dial().await;
    dialed.map(|(connection, _)| chain(&connection)).map_err(|error| error.to_string())
}
