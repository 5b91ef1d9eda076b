//! A request that was only read, or only bound, does not go anywhere.
use hyper::body::Incoming;
use keybound::authorize::Bound;
use keybound::forward::{Egress, Forwarder};
use keybound::request::Inbound;

async fn unread(forwarder: &Forwarder, request: http::Request<Incoming>, egress: &Egress) {
    let _ = forwarder.forward(request, egress).await;
}

async fn unverified(forwarder: &Forwarder, inbound: Inbound<Incoming>, egress: &Egress) {
    let _ = forwarder.forward(inbound, egress).await;
}

async fn unspent(forwarder: &Forwarder, bound: Bound<Incoming>, egress: &Egress) {
    let _ = forwarder.forward(bound, egress).await;
}

fn main() {}
