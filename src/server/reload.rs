//! Another configuration while the process runs: checked whole, then put in force whole.

use std::net::SocketAddr;
use std::sync::{MutexGuard, PoisonError};

use super::Server;
use crate::accept::tls::{CurrentTls, NextTls, TlsError};
use crate::accept::{ListenerSettings, TlsSettings};
use crate::forward::Upstream;
use crate::gateway::{Changes, Gateway, GatewayError, Settings};
use crate::keys::Issuer;
use crate::telemetry::AccessLog;
use crate::tending::Tending;

/// A configuration that cannot follow the one in force, which stays.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// A listener's TLS settings cannot be served.
    #[error("cannot serve TLS on {address}: {cause}")]
    Tls {
        /// Where clients connect.
        address: SocketAddr,
        /// What is wrong with the settings.
        cause: TlsError,
    },
    /// The gateway cannot be set up, or cannot follow the one in force.
    #[error(transparent)]
    Gateway(#[from] GatewayError),
}

/// What is in force beside the gateway.
#[derive(Debug)]
pub(super) struct InForce {
    tls: Vec<ListenerTls>,
    refreshing: Tending<Issuer>,
    watching: Tending<Upstream>,
}

/// A listener's TLS settings, where it has any.
#[derive(Debug)]
pub(super) struct ListenerTls(Option<(CurrentTls, TlsSettings)>);

impl ListenerTls {
    pub(super) fn new(current: Option<CurrentTls>, settings: &mut ListenerSettings) -> Self {
        Self(current.zip(settings.tls.take()))
    }

    /// What it takes to serve `next`; `None`: nothing.
    fn prepare(&self, next: &ListenerSettings) -> Result<Option<NextTls>, ReloadError> {
        match (&self.0, &next.tls) {
            (Some((_, settings)), Some(next_tls)) if settings != next_tls => {
                let cause = |cause| ReloadError::Tls { address: next.address, cause };
                NextTls::new(next_tls).map(Some).map_err(cause)
            }
            _ => Ok(None),
        }
    }
}

impl InForce {
    pub(super) fn new(tls: Vec<ListenerTls>) -> Self {
        Self { tls, refreshing: Tending::default(), watching: Tending::default() }
    }

    /// Keeps the keys of this gateway's issuers fresh and watches its upstreams, and no others.
    fn tend(&mut self, gateway: &Gateway) {
        gateway.issuers().keep_fresh(&mut self.refreshing);
        gateway.forwarder().watch(&mut self.watching);
    }
}

impl Server {
    /// Puts another configuration in force, for new requests and new connections; requests under way finish under theirs.
    /// Must run on the runtime that the server was started on. Requests leave their lines in `log`, if there is one.
    /// Tells what changes.
    ///
    /// # Errors
    /// [`ReloadError`]; nothing changed then.
    pub fn reload(&self, mut settings: Settings, log: Option<AccessLog>) -> Result<Changes, ReloadError> {
        let mut in_force = self.in_force();
        let gateway = self.current.get();
        let mut changes = gateway.changes(&settings);
        let prepared = in_force.tls.iter().zip(&settings.listeners).map(|(tls, next)| tls.prepare(next));
        let prepared: Vec<Option<NextTls>> = prepared.collect::<Result<_, _>>()?;
        let next = gateway.followed_by(&mut settings, log)?;
        // From here on nothing fails. New rules first: what listeners accept was accepted under the old ones, too.
        in_force.tend(&next);
        next.reach_store(&gateway);
        self.current.replace(next);
        let mut served = Vec::new();
        for ((tls, prepared), listener) in in_force.tls.iter_mut().zip(prepared).zip(&mut settings.listeners) {
            if let (Some((current, settings)), Some(prepared), Some(next)) = (&mut tls.0, prepared, listener.tls.take())
            {
                current.replace(prepared);
                current.expire_clients(&settings.client_certificates, &next.client_certificates);
                *settings = next;
                served.push(format!("{} changed", listener.address));
            }
        }
        changes.add("tls", served);
        gateway.metrics().forget_states();
        Ok(changes)
    }

    /// Looks after what the first gateway depends on, and from then on after what the one in force does.
    pub(super) fn tend(&self) {
        self.in_force().tend(&self.current.get());
    }

    /// Whoever panicked with the lock held left the rest to the next reload.
    fn in_force(&self) -> MutexGuard<'_, InForce> {
        self.in_force.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
