//! What a supervisor such as systemd is told, if it wants to know: `NOTIFY_SOCKET` names where (sd_notify(3)).
//!
//! Started is a gateway that listens, ready or not: a supervisor that waited for the keys of an issuer would end one whose
//! other routes work.

use sd_notify::NotifyState;

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

/// It is about to end.
pub fn stopping() {
    tell(&[NotifyState::Stopping, NotifyState::Status("finishing what is under way")]);
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(%error, "the supervisor cannot be told");
    }
}
