//! What an issuer says of a token is read by whoever asked it, and by nobody else.
use keybound::verify::{Introspected, IssuerRules, TokenHash};

fn main() {
    let rules = IssuerRules::new("https://as.example", Vec::new());
    let _ = Introspected::read(b"{\"active\":true}", TokenHash::of("x"), &rules);
}
