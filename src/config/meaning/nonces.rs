//! Whether proofs must hold a nonce of the gateway.

use std::sync::LazyLock;
use std::time::Duration;

use aws_lc_rs::rand;
use zeroize::Zeroizing;

use super::listeners::report_file;
use super::replicas::Replicas;
use super::secrets::secret;
use super::within;
use crate::config::reading::Reading;
use crate::config::written::{self, NonceMode};
use crate::verify::Nonces;

const LIFETIME: Duration = Duration::from_mins(5);

/// The secret of this process, for who has no other: made once, so that nonces outlive a configuration that is read again.
/// `None`: the system gives no random numbers.
static OWN: LazyLock<Option<Zeroizing<[u8; Nonces::SHORTEST_SECRET]>>> = LazyLock::new(|| {
    let mut own = Zeroizing::new([0; Nonces::SHORTEST_SECRET]);
    rand::fill(&mut *own).ok().map(|()| own)
});

pub fn nonces(written: &written::Nonce, replicas: Replicas, reading: &mut Reading<'_>) -> Option<Nonces> {
    let (least, most) = (Duration::from_secs(30), Duration::from_hours(1));
    let lifetime = within(&written.lifetime, least, most, reading).unwrap_or(LIFETIME);
    let field = &written.secret_file;
    let files = field.value().map(|files| files.0.as_slice());
    let mut secrets = Vec::new();
    for file in files.unwrap_or_default() {
        let Some(secret) = secret(file, reading) else { continue };
        if secret.len() < Nonces::SHORTEST_SECRET {
            let path = reading.path(file.value().map_or("", String::as_str));
            let (least, found) = (Nonces::SHORTEST_SECRET, secret.len());
            report_file(file, &path, &format!("expected a secret of at least {least} bytes, found {found}"), reading);
        }
        secrets.push(secret);
    }
    if written.mode.value() != Some(&NonceMode::Required) {
        if field.is_given() && !written.mode.is_wrong() {
            let message = "has no effect: `mode` is off";
            reading.warning(field.place, &field.path, message, "nobody is asked for a nonce");
        }
        return None;
    }
    let twice = secrets.iter().enumerate().any(|(at, secret)| secrets[..at].contains(secret));
    if twice {
        reading.error(field.place, &field.path, "expected different secrets", "one stands here twice");
    }
    if files.is_some_and(<[_]>::is_empty) {
        reading.error(field.place, &field.path, "empty: no nonce could be made", "this list is empty");
    }
    if !field.is_given() {
        let mode = &written.mode;
        let message = "each replica would refuse the nonces of the others";
        let help = "let all replicas share a `secret_file`, made for example by `openssl rand -hex 32`";
        replicas.forbid(mode.place, &mode.path, message, help, reading);
        if replicas.number.is_none() {
            let message =
                "nonces are this process's own: no replica accepts them, nor does this process after a restart";
            reading.warning(mode.place, &mode.path, message, "`secret_file` is not given beside it").help(help);
        }
        match &*OWN {
            Some(own) => secrets.push(Zeroizing::new(own.to_vec())),
            None => {
                reading.error(mode.place, &mode.path, "the system gives no random numbers", "a secret is needed");
            }
        }
    }
    Nonces::new(secrets.iter().map(|secret| secret.as_slice()), lifetime)
}
