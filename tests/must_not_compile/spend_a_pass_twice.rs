//! Forwarding consumes the pass, and there is no copy of it.
use hyper::body::Incoming;
use keybound::authorize::Authorized;
use keybound::forward::{Egress, Forwarder};

async fn twice(forwarder: &Forwarder, pass: Authorized<Incoming>, egress: &Egress) {
    let _ = forwarder.forward(pass, egress).await;
    let _ = forwarder.forward(pass, egress).await;
}

fn copy(pass: &Authorized<Incoming>) -> Authorized<Incoming> {
    pass.clone()
}

fn main() {}
