//! A verified token comes from verification only.
use keybound::verify::{AccessToken, TokenHash};

fn main() {
    let _ = AccessToken::default();
    let _ = AccessToken { hash: TokenHash::of("x") };
}
