use std::time::{Duration, Instant};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};

use super::*;
use crate::verify::{Json, base64url};

/// A client: it signs, and its key as proofs carry it.
struct Client {
    pair: EcdsaKeyPair,
    key: PublicKey,
}

impl Client {
    fn new() -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let point = pair.public_key().as_ref();
        let [x, y] = [&point[1..33], &point[33..]].map(base64url::encode);
        let jwk = format!(r#"{{"kty":"EC","crv":"P-256","x":"{x}","y":"{y}"}}"#);
        let key = PublicKey::from_jwk(&Json::object(jwk.as_bytes()).unwrap(), Algorithm::Es256).unwrap();
        Self { pair, key }
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.pair.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec()
    }

    fn send_good(&self, tables: &KeyTables, times: u32) {
        for nth in 0..times {
            let message = nth.to_be_bytes();
            assert!(tables.verifies(&self.key, &message, &self.sign(&message)));
        }
    }

    fn send_bad(&self, tables: &KeyTables, times: u32) {
        for nth in 0..times {
            assert!(!tables.verifies(&self.key, b"another message", &self.sign(&nth.to_be_bytes())));
        }
    }
}

/// Room for so many tables, which are audited at their first use alone.
fn room_for(tables: u64) -> KeyTables {
    KeyTables::new(KeyTableSettings { memory: tables * TABLE_BYTES, audit_every: usize::MAX }, Arc::default())
}

fn wait_until(tables: &KeyTables, reached: impl Fn(&KeyTableReading) -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !reached(&tables.reading()) {
        assert!(Instant::now() < end, "{:?}", tables.reading());
        thread::yield_now();
    }
}

/// Signs until the key has a table.
fn with_table(client: &Client, tables: &KeyTables) {
    let built = tables.reading().built;
    client.send_good(tables, WORTH_IT);
    wait_until(tables, |reading| reading.built > built);
}

#[test]
fn a_key_that_comes_again_gets_a_table() {
    let (tables, client) = (room_for(4), Client::new());
    client.send_good(&tables, WORTH_IT - 1);
    // Bad ones do not bring it nearer: had it been ordered, it would be there before this one.
    client.send_bad(&tables, 20);
    assert_eq!(tables.reading().by_library, u64::from(WORTH_IT) - 1 + 20);
    with_table(&Client::new(), &tables);
    assert!(tables.tables.peek(&client.key.thumbprint()).is_none());
    client.send_good(&tables, 1);
    wait_until(&tables, |reading| reading.built == 2);
    let before = tables.reading();
    assert_eq!((before.tables, before.bytes, before.by_table, before.agreed), (2, 2 * TABLE_BYTES, 0, 0));
    // The first one is checked twice, the others by the table alone.
    client.send_good(&tables, 10);
    let after = tables.reading();
    assert_eq!((after.by_table, after.by_library - before.by_library, after.agreed), (9, 1, 1));
}

#[test]
fn bad_signatures_are_refused_by_the_library() {
    let (tables, client) = (room_for(4), Client::new());
    with_table(&client, &tables);
    client.send_good(&tables, 2);
    let before = tables.reading();
    client.send_bad(&tables, 10);
    // After the first of them the table is not asked, until there is a good one again; that one is checked twice.
    let after = tables.reading();
    assert_eq!((after.by_library - before.by_library, after.by_table - before.by_table), (10, 0));
    assert_eq!((after.falsely_accepted, after.falsely_refused), (0, 0));
    client.send_good(&tables, 3);
    let last = tables.reading();
    assert_eq!((last.agreed - after.agreed, last.by_table - after.by_table), (1, 2));
}

#[test]
fn one_of_so_many_is_checked_twice_at_random() {
    let tables = KeyTables::new(KeyTableSettings { memory: 4 * TABLE_BYTES, audit_every: 4 }, Arc::default());
    let client = Client::new();
    with_table(&client, &tables);
    client.send_good(&tables, 400);
    let reading = tables.reading();
    // 100 on average, with a deviation of 9.
    assert!((40..=170).contains(&reading.agreed), "{reading:?}");
    assert_eq!(reading.by_table + reading.agreed, 400);
}

/// What a table would be that is wrong: one of another key in this one's place.
fn misplace(table_of: &Client, tables: &KeyTables, on_trial: bool) -> Client {
    let victim = Client::new();
    let table = Table {
        key: KnownKey::new(table_of.key.point().unwrap()).unwrap(),
        point: victim.key.point().unwrap().into(),
        on_trial: AtomicBool::new(on_trial),
    };
    tables.tables.insert(victim.key.thumbprint(), Arc::new(table));
    victim
}

#[test]
fn a_false_acceptance_that_is_noticed_refuses_and_ends_all_tables() {
    let tables = KeyTables::new(KeyTableSettings { memory: 4 * TABLE_BYTES, audit_every: 1 }, Arc::default());
    let (thief, good) = (Client::new(), Client::new());
    with_table(&good, &tables);
    good.send_good(&tables, 1);
    let victim = misplace(&thief, &tables, false);
    assert!(!tables.verifies(&victim.key, b"message", &thief.sign(b"message")), "the library has the last word");
    let reading = tables.reading();
    assert_eq!((reading.falsely_accepted, reading.agreed), (1, 1));
    // Nothing is left to tables, neither this one nor others, nor those that would be made under another configuration.
    good.send_good(&tables, 20);
    let next = KeyTables::new(tables.settings(), Arc::clone(&tables.tally));
    good.send_good(&next, 2 * WORTH_IT);
    let after = next.reading();
    assert_eq!((after.by_table, after.agreed, after.falsely_accepted), (0, 1, 1));
    assert_eq!((after.by_library - reading.by_library, after.built), (u64::from(20 + 2 * WORTH_IT), 1));
}

#[test]
fn a_table_is_tried_before_it_is_believed() {
    let (tables, thief) = (room_for(4), Client::new());
    let victim = misplace(&thief, &tables, true);
    for _ in 0..3 {
        assert!(!tables.verifies(&victim.key, b"message", &thief.sign(b"message")));
    }
    // What it refuses and the library accepts is accepted, and it stays on trial.
    victim.send_good(&tables, 3);
    let reading = tables.reading();
    assert_eq!((reading.falsely_refused, reading.falsely_accepted, reading.agreed, reading.by_table), (3, 0, 0, 0));
}

#[test]
fn a_good_signature_that_a_table_refuses_is_accepted() {
    let (tables, other) = (room_for(4), Client::new());
    let victim = misplace(&other, &tables, false);
    victim.send_good(&tables, 1);
    assert_eq!(tables.reading().falsely_refused, 1);
}

#[test]
fn a_table_serves_the_key_that_it_was_made_of_alone() {
    let (tables, thief) = (room_for(4), Client::new());
    with_table(&thief, &tables);
    thief.send_good(&tables, 2);
    let victim = Client::new();
    let stolen = tables.tables.get(&thief.key.thumbprint()).unwrap();
    tables.tables.insert(victim.key.thumbprint(), stolen);
    let before = tables.reading();
    victim.send_good(&tables, 3);
    assert!(!tables.verifies(&victim.key, b"message", &thief.sign(b"message")));
    let after = tables.reading();
    assert_eq!(after, KeyTableReading { by_library: before.by_library + 4, ..before });
}

#[test]
fn keys_that_come_a_few_times_do_not_push_others_out() {
    let tables = room_for(4);
    let regulars: Vec<_> = (0..4).map(|_| Client::new()).collect();
    for client in &regulars {
        with_table(client, &tables);
        client.send_good(&tables, 10);
    }
    let full = tables.reading();
    assert_eq!((full.tables, full.evicted), (4, 0));
    // A flood of keys, each with more good proofs than a table takes while there is room.
    for _ in 0..50 {
        Client::new().send_good(&tables, WORTH_A_PLACE - 1);
    }
    assert_eq!((tables.reading().built, tables.reading().evicted), (4, 0));
    // One that keeps coming gets its place.
    let newcomer = Client::new();
    newcomer.send_good(&tables, WORTH_A_PLACE);
    wait_until(&tables, |reading| reading.built == 5);
    let after = tables.reading();
    assert!(after.bytes <= 4 * TABLE_BYTES && after.tables <= 4, "{after:?}");
    assert_eq!(after.evicted, 5 - after.tables);
}

#[test]
fn other_algorithms_have_no_tables() {
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let x = base64url::encode(rcgen::PublicKeyData::der_bytes(&key));
    let jwk = format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{x}"}}"#);
    let public = PublicKey::from_jwk(&Json::object(jwk.as_bytes()).unwrap(), Algorithm::EdDsa).unwrap();
    let tables = room_for(4);
    let signature = rcgen::SigningKey::sign(&key, b"message").unwrap();
    for _ in 0..2 * WORTH_IT {
        assert!(tables.verifies(&public, b"message", &signature));
        assert!(!tables.verifies(&public, b"another", &signature));
    }
    assert_eq!(tables.reading(), KeyTableReading::default());
}
