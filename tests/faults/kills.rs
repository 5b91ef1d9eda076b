//! A gateway that is killed while it works, and started again.

use std::sync::Arc;

use crate::crowd::Crowd;
use crate::servers::free_port;
use crate::stage::{Configuration, Gateway, Stage};

/// How often it is killed.
const KILLS: usize = 3;

/// An address to which it comes back.
pub fn somewhere() -> impl Fn(&mut Configuration) + Clone {
    let address = format!("127.0.0.1:{}", free_port());
    move |configuration| address.clone_into(&mut configuration.listener)
}

/// Waits until the process is gone.
pub async fn is_gone(gateway: Gateway) {
    gateway.program.closes(0).await;
}

#[tokio::test]
async fn killed_under_load_and_started_again() {
    let (stage, somewhere) = (Arc::new(Stage::set().await), somewhere());
    let mut gateway = stage.gateway_with(&somewhere).await;
    let crowd = Crowd::gathers(&stage, gateway.address);
    crowd.passes().await;
    for _ in 0..KILLS {
        gateway.program.signal("KILL");
        is_gone(gateway).await;
        gateway = stage.gateway_before_it_is_ready(&somewhere).await;
        // The new process has seen none of it.
        crowd.is_robbed_in_vain().await;
        crowd.passes().await;
    }
    // Refused are proofs from before a start, and from the second in which it happened.
    let account = crowd.goes(&stage.api, &[200, 401, 503]).await;
    assert!(account.good.contains_key(&0), "nobody noticed: {account:?}");
}
