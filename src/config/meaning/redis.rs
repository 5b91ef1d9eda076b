//! The store that replicas share.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use http::uri::Authority;
use rustls::ClientConfig;

use super::listeners::report_file;
use super::secrets::{certificate_and_key, password};
use super::{is_host_and_port, not_empty, values, within};
use crate::accept::tls::load_roots;
use crate::config::reading::{Field, Nullable, Reading};
use crate::config::written::{self, Dpop, NonceMode, Redis, Replay};
use crate::keys::fetch;
use crate::replay::{Address, Credentials, OnFailure, RedisSettings, Topology};

const PORT: u16 = 6379;
const SENTINEL_PORT: u16 = 26379;

pub fn redis(replay: &Replay, dpop: &Dpop, reading: &mut Reading<'_>) -> Option<RedisSettings> {
    let example = "where it is, for example `redis: { urls: [\"redis://127.0.0.1:6379\"] }`";
    replay.redis.required(example, reading);
    let written = replay.redis.value()?;
    written.urls.required("the server, for example `urls: [\"redis://127.0.0.1:6379\"]`", reading);
    let topology = topology(written, reading);
    let port = if matches!(topology, Topology::Sentinel { .. }) { SENTINEL_PORT } else { PORT };
    let servers: Vec<Server> =
        values(&written.urls).filter_map(|(field, _)| field.meaning(reading, |text| server(text, port))).collect();
    check_number(written, &servers, &topology, reading);
    let database = database(written, &servers, &topology, reading);
    let credentials = credentials(&written.username, &written.password_file, reading);
    warn_of_plain_password(written, &servers, &credentials, reading);
    let prefix = written.key_prefix.meaning(reading, |text| key_prefix(text));
    let (least, most) = (Duration::from_millis(1), Duration::from_secs(10));
    Some(RedisSettings {
        tls: tls(written, &servers, reading),
        tls_files: tls_files(written, reading),
        servers: servers.into_iter().map(|server| server.address).collect(),
        topology,
        credentials,
        database,
        key_prefix: prefix.unwrap_or_else(|| RedisSettings::KEY_PREFIX.to_owned()),
        timeout: within(&written.timeout, least, most, reading).unwrap_or(RedisSettings::TIMEOUT),
        on_failure: on_failure(&written.on_failure, dpop, reading),
    })
}

/// What the files behind TLS hold.
fn tls_files(written: &Redis, reading: &Reading<'_>) -> Vec<[u8; 32]> {
    let files = [&written.ca_file, &written.certificate_file, &written.key_file];
    let paths = files.iter().filter_map(|file| Some(reading.path(file.value()?)));
    let paths: Vec<_> = paths.collect();
    let known = reading.files.borrow();
    paths.iter().filter_map(|path| known.held(path)).collect()
}

/// A server as its URL names it.
struct Server {
    address: Address,
    tls: bool,
    database: Option<u16>,
}

fn server(text: &str, port: u16) -> Result<Server, &'static str> {
    const EXPECTED: &str = "a URL such as `redis://127.0.0.1:6379`, or `rediss://` for TLS";
    // The parser would cut it off.
    if text.contains('#') {
        return Err(EXPECTED);
    }
    let uri: Uri = text.parse().map_err(|_| EXPECTED)?;
    let tls = match uri.scheme_str() {
        Some("redis") => false,
        Some("rediss") => true,
        _ => return Err(EXPECTED),
    };
    let authority = uri.authority().ok_or(EXPECTED)?;
    if authority.as_str().contains('@') {
        return Err("a URL without user and password, which have fields of their own (`username` and `password_file`)");
    }
    if !is_host_and_port(authority) || uri.query().is_some() {
        return Err(EXPECTED);
    }
    let database = match uri.path().trim_start_matches('/') {
        "" => None,
        number => Some(number.parse().map_err(|_| "the number of a database after the `/`, or nothing")?),
    };
    let port = authority.port_u16().unwrap_or(port);
    if port == 0 {
        return Err("a port that somebody can listen on");
    }
    Ok(Server { address: Address { host: host(authority), port }, tls, database })
}

fn host(authority: &Authority) -> String {
    authority.host().trim_start_matches('[').trim_end_matches(']').to_owned()
}

fn topology(written: &Redis, reading: &mut Reading<'_>) -> Topology {
    let is_cluster = written.cluster.value() == Some(&true);
    let Some(sentinel) = written.sentinel.value() else {
        return if is_cluster || written.sentinel.is_wrong() { Topology::Cluster } else { Topology::Single };
    };
    if is_cluster {
        let message = "a cluster has no Sentinels";
        reading
            .error(written.cluster.place, &written.cluster.path, message, "expected one of both")
            .also(written.sentinel.place, "Sentinels are named here");
    }
    sentinel.master.required("its name in `sentinel monitor`, for example `master: mymaster`", reading);
    Topology::Sentinel {
        master: sentinel.master.meaning(reading, |text| not_empty(text)).unwrap_or_default(),
        credentials: credentials(&sentinel.username, &sentinel.password_file, reading),
    }
}

fn check_number(written: &Redis, servers: &[Server], topology: &Topology, reading: &mut Reading<'_>) {
    let (urls, number) = (&written.urls, written.urls.value().map(Vec::len));
    if number == Some(0) {
        reading.error(urls.place, &urls.path, "empty: spent proofs could be stored nowhere", "this list is empty");
    }
    if *topology == Topology::Single && number > Some(1) {
        reading
            .error(urls.place, &urls.path, "expected one server, found several", "one too many")
            .help("say what they are: `cluster: true`, or `sentinel: { master: … }` for the URLs of Sentinels");
    }
    let twice = |(at, server): (usize, &Server)| servers[..at].iter().any(|other| other.address == server.address);
    if servers.iter().enumerate().any(twice) {
        reading.error(urls.place, &urls.path, "expected each server once", "one stands here twice");
    }
    if matches!(topology, Topology::Sentinel { .. }) && number < Some(3) {
        let message = "fewer than three Sentinels are named: one that was cut off may decide who the master is";
        reading
            .warning(urls.place, &urls.path, message, "too few to outvote one")
            .help("name all of them; a master is believed when more than half of those named agree");
    }
}

fn database(written: &Redis, servers: &[Server], topology: &Topology, reading: &mut Reading<'_>) -> u16 {
    let numbers: Vec<u16> = servers.iter().map(|server| server.database.unwrap_or(0)).collect();
    let first = numbers.first().copied().unwrap_or(0);
    let urls = &written.urls;
    if numbers.iter().any(|number| *number != first) {
        reading.error(urls.place, &urls.path, "expected one database, found several", "numbers differ");
    }
    if *topology == Topology::Cluster && first != 0 {
        reading.error(urls.place, &urls.path, "a cluster has no databases but 0", "names another one");
    }
    first
}

/// Keys that hold `{}` would not be spread over a cluster.
fn key_prefix(text: &str) -> Result<String, &'static str> {
    let fits = |b: u8| b.is_ascii_graphic() && !matches!(b, b'{' | b'}');
    if text.is_empty() || text.len() > 64 || !text.bytes().all(fits) {
        return Err("at most 64 visible ASCII characters without `{` and `}`");
    }
    Ok(text.to_owned())
}

fn credentials(username: &Nullable<String>, file: &Nullable<String>, reading: &mut Reading<'_>) -> Credentials {
    let password = password(file, reading);
    if username.is_given() && !file.is_given() {
        let message = "missing: a user has a password";
        reading.error(file.place, &file.path, message, "`password_file` must be given here");
    }
    Credentials { username: username.meaning(reading, |text| not_empty(text)), password }
}

/// Whoever listens on the way could enter and delete what all replicas remember.
fn warn_of_plain_password(written: &Redis, servers: &[Server], who: &Credentials, reading: &mut Reading<'_>) {
    let is_near = |host: &str| host == "localhost" || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback());
    if who.password.is_some() && servers.iter().any(|server| !server.tls && !is_near(&server.address.host)) {
        let message = "the password crosses the network in the clear";
        let field = &written.password_file;
        reading.warning(field.place, &field.path, message, "sent without TLS").help("use `rediss://` in `urls`");
    }
}

fn on_failure(field: &Field<written::OnFailure>, dpop: &Dpop, reading: &mut Reading<'_>) -> OnFailure {
    match field.value() {
        None | Some(written::OnFailure::Deny) => OnFailure::Deny,
        Some(written::OnFailure::Local) => {
            let message = "while the store does not answer, a stolen proof passes once at each replica";
            reading.warning(field.place, &field.path, message, "replicas forget each other");
            OnFailure::Local
        }
        Some(written::OnFailure::Nonce) => {
            if dpop.nonce.mode.value() != Some(&NonceMode::Required) && !dpop.nonce.mode.is_wrong() {
                // RFC 9449 §11.3: who was given a nonce may not go without one later.
                reading
                    .error(field.place, &field.path, "works only where proofs have nonces at all times", "needs nonces")
                    .help("add `dpop: { nonce: { mode: required, secret_file: … } }`");
            }
            OnFailure::Nonce
        }
    }
}

fn tls(written: &Redis, servers: &[Server], reading: &mut Reading<'_>) -> Option<Arc<ClientConfig>> {
    let urls = &written.urls;
    let with = servers.iter().filter(|server| server.tls).count();
    if with > 0 && with < servers.len() {
        reading.error(
            urls.place,
            &urls.path,
            "expected `rediss://` everywhere or nowhere",
            "some with TLS, some without",
        );
    }
    if with == 0 {
        for field in [&written.ca_file, &written.certificate_file, &written.key_file] {
            if field.is_given() {
                let message = "has no effect: the URLs do not begin with `rediss://`";
                reading.error(field.place, &field.path, message, "there is no TLS");
            }
        }
        return None;
    }
    let own = certificate_and_key(&written.certificate_file, &written.key_file, reading);
    let roots = match written.ca_file.value().map(|file| reading.path(file)) {
        Some(file) => load_roots(&file)
            .map_err(|error| report_file(&written.ca_file, &error.path, &error.problem, reading))
            .ok()?,
        None => fetch::system_roots(),
    };
    if roots.is_empty() {
        let message = "this system trusts no certificates";
        reading
            .error(urls.place, &urls.path, message, "no server could prove who it is")
            .help("name the authority of the servers' certificates in `ca_file`");
    }
    match fetch::tls_config(roots) {
        Ok(mut config) => {
            if let Some(own) = own {
                config.client_auth_cert_resolver = own.for_client();
            }
            Some(Arc::new(config))
        }
        Err(error) => {
            reading.error(urls.place, &urls.path, format!("TLS cannot be set up: {error}"), "TLS is wanted here");
            None
        }
    }
}
