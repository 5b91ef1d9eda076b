//! A verified proof comes from verification only.
use keybound::verify::{Proof, ReplayKey, Thumbprint};

fn forge(issued_at: keybound::time::UnixTime) -> Proof {
    Proof { key: Thumbprint([0; 32]), replay_key: ReplayKey([0; 32]), issued_at, nonce: None, accepted_until: issued_at }
}

fn main() {}
