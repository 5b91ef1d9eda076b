//! Where clients connect.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use super::{fronts, socket_address, values};
use crate::accept::tls::{ClientTrust, LoadError, ServerCertificate, load_roots};
use crate::accept::{ClientCertificates, ListenerSettings, TlsSettings};
use crate::clock::{Clock as _, SystemClock};
use crate::config::reading::{Field, Reading};
use crate::config::written::{
    self, Authorities, ClientCertificateMode, Configuration, Listener, ListenerTls, TlsVersion, Trust,
};
use crate::request::{ListenerScheme, PublicUrl};

const EXAMPLE: &str =
    "for example `- address: 0.0.0.0:8443` and below it `tls: { certificate_file: tls.crt, key_file: tls.key }`";

pub fn all(written: &Field<Vec<Field<Listener>>>, reading: &mut Reading<'_>) -> Vec<ListenerSettings> {
    if written.required(EXAMPLE, reading).is_some_and(Vec::is_empty) {
        let message = "empty: a gateway needs a place where clients connect";
        reading.error(written.place, &written.path, message, "this list is empty").help(EXAMPLE);
    }
    let mut taken: Vec<(SocketAddr, &Field<String>)> = Vec::new();
    let mut listeners = Vec::new();
    for (_, listener) in values(written) {
        let settings = one(listener, reading);
        let Some(address) = settings.as_ref().map(|settings| settings.address) else { continue };
        if let Some((_, first)) = taken.iter().find(|(other, _)| overlap(*other, address)) {
            let field = &listener.address;
            reading
                .error(field.place, &field.path, format!("`{address}` is another listener's address"), "taken")
                .also(first.place, "taken by this listener");
        }
        taken.push((address, &listener.address));
        listeners.extend(settings);
    }
    listeners
}

/// Whether two sockets cannot listen at the same time. Port 0 is a different one each time.
pub fn overlap(a: SocketAddr, b: SocketAddr) -> bool {
    let everywhere = a.is_ipv4() == b.is_ipv4() && (a.ip().is_unspecified() || b.ip().is_unspecified());
    a.port() != 0 && a.port() == b.port() && (a.ip() == b.ip() || everywhere)
}

/// Whether a certificate can come in at all. What was reported already counts as yes: one report is enough.
pub fn ask_for_certificates(written: &Configuration) -> bool {
    let asks = |listener: &Listener| {
        let mode = |tls: &ListenerTls| {
            let mode = &tls.client_certificates.mode;
            mode.is_wrong() || mode.value().is_some_and(|mode| *mode != ClientCertificateMode::Off)
        };
        listener.client_certificate_header.is_given()
            || listener.tls.is_wrong()
            || listener.tls.value().is_some_and(mode)
    };
    let items = written.listeners.value();
    items.is_none_or(|items| items.iter().any(|item| item.is_wrong() || item.value().is_some_and(asks)))
}

fn one(written: &Listener, reading: &mut Reading<'_>) -> Option<ListenerSettings> {
    written.address.required("for example `address: 0.0.0.0:8443`", reading);
    let address = written.address.meaning(reading, |text| socket_address(text));
    let public_url = written.public_url.meaning(reading, |text| PublicUrl::parse(text));
    if let Some(address) = address {
        check_public_url(written, address, public_url.as_ref(), reading);
    }
    let tls = written.tls.value().map(|tls| tls_settings(tls, reading));
    let front = fronts::front(written, public_url, reading);
    let proxy_protocol = fronts::proxy_protocol(written);
    Some(ListenerSettings { address: address?, front, proxy_protocol, tls })
}

/// RFC 9449 §2 and §11.1 rest on TLS: proofs and tokens must not cross the network in the clear.
fn check_public_url(written: &Listener, address: SocketAddr, url: Option<&PublicUrl>, reading: &mut Reading<'_>) {
    let encrypted = url.is_some_and(|url| url.scheme() == ListenerScheme::Https);
    if written.tls.is_given() {
        if url.is_some() && !encrypted {
            written.public_url.refuse("`https://…`, because this listener speaks TLS", reading);
        }
    } else if !encrypted
        && !address.ip().is_loopback()
        && !written.public_url.is_wrong()
        && !fronts::tells_scheme(written)
    {
        let field = &written.address;
        reading
            .error(field.place, &field.path, "tokens would cross the network in the clear", "not a loopback address")
            .help("add `tls`, or set `public_url: https://…` when a TLS terminator stands in front");
    }
}

fn tls_settings(written: &ListenerTls, reading: &mut Reading<'_>) -> TlsSettings {
    let additional = values(&written.additional).map(|(_, files)| (&files.certificate_file, &files.key_file));
    let pairs: Vec<_> = std::iter::once((&written.certificate_file, &written.key_file)).chain(additional).collect();
    TlsSettings {
        certificates: pairs.into_iter().filter_map(|(chain, key)| certificate(chain, key, reading)).collect(),
        keep_certificates: false,
        only_tls13: written.min_version.value() == Some(&TlsVersion::Tls13),
        client_certificates: client_certificates(&written.client_certificates, reading),
    }
}

fn certificate(
    chain: &Field<String>,
    key: &Field<String>,
    reading: &mut Reading<'_>,
) -> Option<Arc<ServerCertificate>> {
    let chain_file = chain.required("a PEM file with the certificate and its intermediates", reading);
    let key_file = key.required("a PEM file with the private key of the certificate", reading);
    let (chain_file, key_file) = (chain_file.map(|file| reading.path(file)), key_file.map(|file| reading.path(file)));
    let loaded = match (&chain_file, &key_file) {
        (Some(chain_file), Some(key_file)) => ServerCertificate::load(chain_file, key_file).map(Arc::new),
        // What is there is looked at all the same, so that its mistakes are told in the same run.
        (Some(chain_file), None) => Err(ServerCertificate::check_certificate(chain_file).err().into_iter().collect()),
        (None, Some(key_file)) => Err(ServerCertificate::check_key(key_file).err().into_iter().collect()),
        (None, None) => Err(Vec::new()),
    };
    // One file in both places: the certificate's problem comes first, if it is none.
    let is_chain = || chain_file.as_ref().is_some_and(|file| ServerCertificate::check_certificate(file).is_ok());
    let is_key = |at: usize, error: &LoadError| {
        key_file.as_ref() == Some(&error.path) && (chain_file != key_file || at > 0 || is_chain())
    };
    let loaded = loaded.map_err(|errors| {
        for (at, error) in errors.iter().enumerate() {
            unusable(error, if is_key(at, error) { key } else { chain }, reading);
        }
    });
    loaded.inspect(|certificate| warn_if_expired(certificate, chain, "clients refuse it", reading)).ok()
}

/// No reason not to start: what renews certificates may be behind the gateway. `so` is what comes of it.
pub fn warn_if_expired(certificate: &ServerCertificate, field: &Field<String>, so: &str, reading: &mut Reading<'_>) {
    let end = certificate.expires();
    if end.secs() < SystemClock.now().secs() {
        let message = format!("the certificate expired at {}", end.rfc3339().as_str());
        reading.warning(field.place, &field.path, message, so).help("renew it");
    }
}

fn client_certificates(written: &written::ClientCertificates, reading: &mut Reading<'_>) -> ClientCertificates {
    let trust = match written.trust.value() {
        Some(Trust::Authorities(authorities)) => client_authorities(authorities, reading).unwrap_or(ClientTrust::Any),
        Some(Trust::Any) | None => ClientTrust::Any,
    };
    match written.mode.value() {
        Some(ClientCertificateMode::Request) => ClientCertificates::Request(trust),
        Some(ClientCertificateMode::Require) => ClientCertificates::Require(trust),
        Some(ClientCertificateMode::Off) | None => {
            if matches!(written.trust.value(), Some(Trust::Authorities(_))) && !written.mode.is_wrong() {
                let message = "has no effect: clients are not asked for a certificate";
                reading
                    .warning(written.trust.place, &written.trust.path, message, "never asked")
                    .help("set `mode: request` or `mode: require` beside it");
            }
            ClientCertificates::Off
        }
    }
}

fn client_authorities(written: &Authorities, reading: &mut Reading<'_>) -> Option<ClientTrust> {
    let ca_file = written.ca_file.required("a PEM file with the authorities of clients", reading)?;
    let ca_file = reading.path(ca_file);
    let crl_files: Vec<_> = values(&written.crl_files).map(|(field, file)| (field, reading.path(file))).collect();
    let crl_paths: Vec<_> = crl_files.iter().map(|(_, path)| path.clone()).collect();
    ClientTrust::load(&ca_file, &crl_paths)
        .map_err(|errors| {
            for (at, error) in errors.iter().enumerate() {
                // The authorities' problem comes first, if there is one.
                let is_ca = at == 0 && error.path == ca_file && load_roots(&ca_file).is_err();
                let crl = crl_files.iter().find(|(_, path)| *path == error.path && !is_ca);
                unusable(error, crl.map_or(&written.ca_file, |(field, _)| *field), reading);
            }
        })
        .ok()
}

/// Reports a file that could be read as nothing useful.
fn unusable(error: &LoadError, field: &Field<String>, reading: &mut Reading<'_>) {
    report_file(field, &error.path, &error.problem, reading);
}

/// Reports a file.
pub fn report_file(field: &Field<String>, path: &Path, problem: &str, reading: &mut Reading<'_>) {
    let message = format!("{}: {problem}", path.display());
    let relative = field.value().is_some_and(|file| Path::new(file).is_relative());
    let report = reading.error(field.place, &field.path, message, problem);
    if relative && !path.exists() {
        report.help("paths are relative to the directory of the configuration file");
    }
}
