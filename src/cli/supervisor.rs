//! What a supervisor such as systemd is told, if it wants to know: `NOTIFY_SOCKET` names where (sd_notify(3)). And what it
//! may have passed: sockets that were there before this process (sd_listen_fds(3)).
//!
//! Started is a gateway that listens, ready or not: a supervisor that waited for the keys of an issuer would end one whose
//! other routes work.

use anyhow::Context as _;
use keybound::accept::PassedSockets;
use listenfd::ListenFd;
use sd_notify::NotifyState;

/// The sockets that were passed to this process. To be called once, before there are threads: what tells of the sockets is
/// taken out of the environment.
///
/// # Errors
/// One of them is no listening stream socket, or the environment makes no sense.
pub fn passed_sockets() -> anyhow::Result<PassedSockets> {
    let mut passed = PassedSockets::default();
    let names = sd_notify::listen_fds_with_names().context("sockets are passed wrongly (LISTEN_FDS)")?;
    let names: Vec<String> = names.map(|(_, name)| name).collect();
    if names.is_empty() {
        return Ok(passed);
    }
    let mut sockets = ListenFd::from_env();
    for (index, name) in names.into_iter().enumerate() {
        let unusable = format!("the passed socket {name} (number {index}) cannot be listened on");
        let added = match (sockets.take_tcp_listener(index), sockets.take_unix_listener(index)) {
            (Ok(Some(socket)), _) => passed.add_network(name, socket),
            (_, Ok(Some(socket))) => passed.add_unix(name, socket),
            (Err(error), _) | (_, Err(error)) => Err(error),
            (Ok(None), Ok(None)) => Err(std::io::ErrorKind::NotFound.into()),
        };
        added.context(unusable)?;
    }
    Ok(passed)
}

/// It listens.
pub fn started() {
    tell(&[NotifyState::Ready, NotifyState::Status("not ready yet; /readyz on the admin port says why")]);
}

/// Requests may be sent.
pub fn ready() {
    tell(&[NotifyState::Status("ready")]);
}

/// The configuration is being read again.
pub fn reloading() {
    // Newer supervisors want to know when this was.
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(error) => tracing::warn!(%error, "the supervisor cannot be told of a reload"),
    }
}

/// It was read, and is in force or not.
pub fn reloaded(in_force: bool) {
    let status = if in_force {
        "the configuration was reloaded"
    } else {
        "the configuration was refused, and the one before is in force; the log says why"
    };
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// It lets clients go.
pub fn draining() {
    tell(&[NotifyState::Status("draining: not ready, and clients are asked to leave")]);
}

/// It is about to end.
pub fn stopping() {
    tell(&[NotifyState::Stopping, NotifyState::Status("finishing what is under way")]);
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(%error, "the supervisor cannot be told");
    }
}
