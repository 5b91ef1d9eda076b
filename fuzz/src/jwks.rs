//! JWK sets (RFC 7517 §5): whole documents, as issuers publish them.

use keybound::verify::{Algorithm, Json, Keyset, PublicKey};
use serde_json::Value;

use super::{jwk, oracle};

pub fn run(data: &[u8]) {
    let read = Keyset::parse(data, Algorithm::ALL);
    let document = oracle::strict(data);
    let entries = document.as_ref().and_then(|document| document.get("keys")).and_then(Value::as_array);
    let (Ok((keyset, skipped)), Some(entries)) = (&read, entries) else {
        assert!(read.is_err() && entries.is_none(), "a set is an object with a list of keys");
        return;
    };
    let looked_at = entries.len().min(256);
    assert!(skipped.iter().all(|skipped| skipped.index < looked_at));
    let mut usable = 0;
    for (index, entry) in entries.iter().take(looked_at).enumerate() {
        if skipped.iter().any(|skipped| skipped.index == index) {
            continue;
        }
        usable += 1;
        let jwk = Json::from_members(entry.as_object().expect("a key is an object"));
        assert!(entry.get("use").is_none_or(|usage| usage == "sig"), "not for encryption");
        let keys: Vec<_> = Algorithm::ALL.iter().filter_map(|alg| PublicKey::from_jwk(&jwk, *alg).ok()).collect();
        assert!(!keys.is_empty());
        let kid = entry.get("kid").and_then(Value::as_str);
        for key in keys {
            jwk::agrees(&jwk, &key);
            assert!(keyset.contains(key.thumbprint(), key.algorithm()));
            let found = |kid| keyset.candidates(kid, key.algorithm()).any(|one| one.thumbprint() == key.thumbprint());
            assert!(found(kid) && found(None), "found by its name, and without one");
        }
    }
    assert_eq!(keyset.is_empty(), usable == 0);
    assert!(keyset.len() <= usable);
}
