//! The gateway in force. A reload puts another in its place; who holds the one before goes on with it to the end, so a
//! request is decided, forwarded and answered under one configuration.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;

use super::readiness::Readiness;
use super::state::Gateway;

/// How often readiness is looked at while somebody waits for it.
const READY_POLL: Duration = Duration::from_millis(10);

/// Names the gateway in force. Clones name the same.
#[derive(Clone, Debug)]
pub struct Current(Arc<ArcSwap<Gateway>>);

impl Current {
    /// With this one in force.
    pub fn new(gateway: Gateway) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(gateway)))
    }

    /// The one in force at this moment.
    pub fn get(&self) -> Arc<Gateway> {
        self.0.load_full()
    }

    /// Puts another in force.
    pub fn replace(&self, next: Gateway) {
        self.0.store(Arc::new(next));
    }

    /// Resolves when requests may be sent.
    pub async fn ready(&self) {
        while let Readiness::NotReady(_) = self.get().readiness() {
            tokio::time::sleep(READY_POLL).await;
        }
    }
}
