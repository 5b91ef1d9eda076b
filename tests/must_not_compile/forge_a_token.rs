//! A verified token comes from verification only.
use keybound::verify::AccessToken;

fn main() {
    let _ = AccessToken::default();
    let _ = AccessToken { issuer: String::new() };
}
