//! Keys that come again have tables, those of clients and of issuers, whatever becomes of the configuration; what is
//! refused stays refused.

use crate::reload::reload;
use crate::stage::{Configuration, Gateway, Stage, message};
use crate::support::mint::bent;
use crate::support::wire::Message;

/// More good signatures than a key needs to get a table.
const OFTEN: usize = 20;

async fn sum(gateway: &Gateway, name: &str, labels: &[(&str, &str)]) -> f64 {
    gateway.scrape().await.sum(name, labels)
}

async fn by_table(gateway: &Gateway) -> f64 {
    sum(gateway, "keybound_es256_verifications_total", &[("by", "table")]).await
}

/// Sends a new token and a new proof `times`.
async fn send(stage: &Stage, gateway: &Gateway, times: usize) {
    for _ in 0..times {
        assert_eq!(gateway.status(&stage.call("/api/item")).await, 200);
    }
}

async fn until_there_are_tables(stage: &Stage, gateway: &Gateway) {
    send(stage, gateway, OFTEN).await;
    crate::eventually("both keys have a table", async || {
        (sum(gateway, "keybound_key_tables", &[]).await == 2.0).then_some(())
    })
    .await;
}

/// A good request, but for one bit of the proof's signature.
fn forged(stage: &Stage) -> Message {
    let token = stage.token().compact();
    let mut proof = stage.proof(&token, "GET", "/api/item");
    proof.edit_signature = Some(bent);
    message("/api/item", &[("Authorization", &format!("DPoP {token}")), ("DPoP", &proof.compact())])
}

#[tokio::test]
async fn what_a_table_answers_is_what_the_library_would() {
    let stage = Stage::set().await;
    let gateway = stage.gateway().await;
    until_there_are_tables(&stage, &gateway).await;
    let before = by_table(&gateway).await;
    send(&stage, &gateway, 10).await;
    // The first under each table is checked twice, here or before, and a few more may have been drawn for that.
    let accepted = by_table(&gateway).await - before;
    assert!((14.0..=20.0).contains(&accepted), "{accepted}");
    assert!(sum(&gateway, "keybound_key_table_audits_total", &[("result", "agreed")]).await >= 2.0);

    let seen = stage.api.count();
    for _ in 0..3 {
        let answer = gateway.send(&forged(&stage)).await;
        assert_eq!(answer.status, 401);
        let line = gateway.access_line(answer.header("x-request-id").unwrap()).await;
        assert_eq!(line["reason"], "proof_signature");
    }
    assert_eq!(stage.api.count(), seen, "nothing of it reached the API");
    // A copy is a copy, whatever checked its signature.
    let once = stage.call("/api/item");
    assert_eq!((gateway.status(&once).await, gateway.status(&once).await), (200, 401));
    send(&stage, &gateway, 1).await;
    for result in ["falsely_accepted", "falsely_refused"] {
        assert_eq!(sum(&gateway, "keybound_key_table_audits_total", &[("result", result)]).await, 0.0, "{result}");
    }
}

#[tokio::test]
async fn tables_stay_across_a_reload_until_they_are_turned_off() {
    let stage = Stage::set().await;
    let gateway = stage.gateway().await;
    until_there_are_tables(&stage, &gateway).await;
    let tables = |written: &'static str| {
        move |configuration: &mut Configuration| configuration.replay = format!("dpop: {{ key_tables: {written} }}")
    };
    // The same, written down.
    reload(&stage, &gateway, 1, tables("{ memory: 64MiB, audit_every: 1024 }")).await;
    assert_eq!(sum(&gateway, "keybound_key_tables", &[]).await, 2.0);
    reload(&stage, &gateway, 2, tables("off")).await;
    let before = by_table(&gateway).await;
    send(&stage, &gateway, OFTEN).await;
    assert_eq!(by_table(&gateway).await, before);
    assert_eq!(sum(&gateway, "keybound_key_tables", &[]).await, 0.0);
    assert_eq!(sum(&gateway, "keybound_key_table_bytes", &[]).await, 0.0);
    // And on again, with what was counted.
    reload(&stage, &gateway, 3, tables("{ memory: 1MiB }")).await;
    until_there_are_tables(&stage, &gateway).await;
    send(&stage, &gateway, 3).await;
    assert!(by_table(&gateway).await > before);
    assert_eq!(sum(&gateway, "keybound_key_table_builds_total", &[]).await, 4.0);
}
