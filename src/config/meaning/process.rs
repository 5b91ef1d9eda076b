//! What holds for the whole process: proofs, limits, admin port.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use super::listeners::report_file;
use super::replicas::Replicas;
use super::secrets::secret;
use super::{algorithms, count, nonces, socket_address, timeout, within};
use crate::accept::{Address, Limits};
use crate::config::reading::{Field, Reading};
use crate::config::values::Size;
use crate::config::written::{self, KeyTables, Listener};
use crate::gateway::{AdminSettings, AdminToken};
use crate::tokens::KeyTableSettings;
use crate::verify::ProofRules;

const MAX_SKEW: Duration = Duration::from_mins(1);

pub fn proofs(written: &written::Dpop, replicas: Replicas, reading: &mut Reading<'_>) -> ProofRules {
    let default = ProofRules::default();
    let (least, most) = (Duration::from_secs(5), Duration::from_mins(5));
    ProofRules {
        algorithms: algorithms(&written.algorithms, reading).unwrap_or(default.algorithms),
        lifetime: within(&written.proof_lifetime, least, most, reading).unwrap_or(default.lifetime),
        clock_skew: within(&written.clock_skew, Duration::ZERO, MAX_SKEW, reading).unwrap_or(default.clock_skew),
        nonces: nonces::nonces(&written.nonce, replicas, reading),
    }
}

pub fn key_tables(field: &Field<KeyTables>, reading: &mut Reading<'_>) -> Option<KeyTableSettings> {
    let default = KeyTableSettings::default();
    let limits = match field.value() {
        None => return Some(default),
        Some(KeyTables::Off) => return None,
        Some(KeyTables::Within(limits)) => limits,
    };
    // As many as a handful of keys need, and no more than a machine has.
    let fits = |bytes: u64| (1 << 20..=1 << 40).contains(&bytes).then_some(bytes);
    let memory = limits.memory.meaning(reading, |Size(bytes)| fits(*bytes).ok_or("a size from 1MiB to 1024GiB"));
    Some(KeyTableSettings {
        memory: memory.unwrap_or(default.memory),
        audit_every: count(&limits.audit_every, 1, 1_000_000, reading).unwrap_or(default.audit_every),
    })
}

pub fn limits(written: &written::Limits, reading: &mut Reading<'_>) -> Limits {
    let default = Limits::default();
    Limits {
        connections: count(&written.connections, 1, 10_000_000, reading).unwrap_or(default.connections),
        header_bytes: header_bytes(&written.header_bytes, reading).unwrap_or(default.header_bytes),
        headers: count(&written.headers, 1, 1000, reading).unwrap_or(default.headers),
        header_timeout: timeout(&written.header_timeout, reading).unwrap_or(default.header_timeout),
        handshake_timeout: timeout(&written.handshake_timeout, reading).unwrap_or(default.handshake_timeout),
        idle_timeout: timeout(&written.idle_timeout, reading).unwrap_or(default.idle_timeout),
        body_bytes: body_bytes(&written.body_bytes, reading).or(default.body_bytes),
        drain_delay: written.drain_delay.value().copied().unwrap_or(default.drain_delay),
        drain_timeout: written.drain_timeout.value().copied().unwrap_or(default.drain_timeout),
    }
}

fn header_bytes(field: &Field<Size>, reading: &mut Reading<'_>) -> Option<usize> {
    // The lower bound is that of hyper's read buffer.
    let fits = |bytes: u64| usize::try_from(bytes).ok().filter(|bytes| (8 << 10..=1 << 20).contains(bytes));
    field.meaning(reading, |Size(bytes)| fits(*bytes).ok_or("a size from 8KiB to 1MiB"))
}

fn body_bytes(field: &Field<Size>, reading: &mut Reading<'_>) -> Option<u64> {
    let refused = "at least 1 byte, or `null` for no bound";
    field.meaning(reading, |Size(bytes)| if *bytes > 0 { Ok(*bytes) } else { Err(refused) })
}

pub fn admin(
    written: &written::Admin,
    listeners: &Field<Vec<Field<Listener>>>,
    reading: &mut Reading<'_>,
) -> AdminSettings {
    let default = SocketAddr::from((Ipv4Addr::LOCALHOST, 9090));
    let secret = admin_token(&written.token_file, reading);
    let meant = written.address.meaning(reading, |text| {
        let expected = "an IP address and a port, such as `127.0.0.1:9090`, or `unix:` and a path";
        Address::parse_unix(text).unwrap_or_else(|| text.parse().map(Address::Network).map_err(|_| expected))
    });
    let path = "admin.address";
    let address = match meant.unwrap_or(Address::Network(default)) {
        Address::Network(address) => address,
        Address::Unix(file) => {
            if let Some(folder) = file.parent().filter(|folder| !folder.is_dir()) {
                let message = format!("{}: there is no such folder", folder.display());
                reading
                    .error(written.address.place, path, message, "the socket cannot be made")
                    .help("systemd makes one below /run for a service with `RuntimeDirectory=keybound`");
            }
            return AdminSettings { address: Address::Unix(file), token: secret };
        }
    };
    for (_, listener) in super::values(listeners) {
        let taken = listener.address.value().and_then(|text| socket_address(text).ok());
        if taken.is_some_and(|taken| super::listeners::overlap(taken, address)) {
            reading
                .error(written.address.place, path, format!("`{address}` is a listener's address too"), "taken")
                .also(listener.address.place, "taken by this listener");
        }
    }
    AdminSettings { address: address.into(), token: secret }
}

fn admin_token(field: &Field<String>, reading: &mut Reading<'_>) -> Option<AdminToken> {
    let secret = secret(field, reading)?;
    if secret.len() < AdminToken::SHORTEST {
        let path = reading.path(field.value().map_or("", String::as_str));
        let (least, found) = (AdminToken::SHORTEST, secret.len());
        report_file(field, &path, &format!("expected a secret of at least {least} bytes, found {found}"), reading);
    }
    Some(AdminToken::of(&secret))
}
