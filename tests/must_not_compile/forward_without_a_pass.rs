//! A request that was only read, or only bound, does not go anywhere.
use hyper::body::Incoming;
use keybound::authorize::Bound;
use keybound::forward::Forwarder;
use keybound::request::Inbound;

async fn unread(forwarder: &Forwarder, request: http::Request<Incoming>) {
    let _ = forwarder.forward(request).await;
}

async fn unverified(forwarder: &Forwarder, inbound: Inbound<Incoming>) {
    let _ = forwarder.forward(inbound).await;
}

async fn unspent(forwarder: &Forwarder, bound: Bound<Incoming>) {
    let _ = forwarder.forward(bound).await;
}

fn main() {}
