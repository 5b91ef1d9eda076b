//! Forwarding consumes the pass, and there is no copy of it.
use hyper::body::Incoming;
use keybound::authorize::Authorized;
use keybound::forward::Forwarder;

async fn twice(forwarder: &Forwarder, pass: Authorized<Incoming>) {
    let _ = forwarder.forward(pass).await;
    let _ = forwarder.forward(pass).await;
}

fn copy(pass: &Authorized<Incoming>) -> Authorized<Incoming> {
    pass.clone()
}

fn main() {}
