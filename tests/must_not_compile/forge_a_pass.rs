//! The pass has no public fields and no public constructor that does not check.
use keybound::authorize::Authorized;

fn forge<B>(inbound: keybound::request::Inbound<B>, route: std::sync::Arc<keybound::routes::Route>) -> Authorized<B> {
    Authorized { inbound, route, grant: None }
}

fn main() {}
