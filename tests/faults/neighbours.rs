//! Upstream, issuer and replay store, each killed, paused, slowed and mad while the gateway works. What they are behind the
//! relay is real; `tests/replicas` kills and pauses Redis itself.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::crowd::Crowd;
use crate::eventually;
use crate::relay::{Mood, Relay};
use crate::servers::Redis;
use crate::stage::{Configuration, Gateway, Stage, now};
use crate::support::keys::Key;
use crate::support::mint;
use crate::support::{AUDIENCE, ISSUER};

const SLOW: Mood = Mood::Slow(Duration::from_millis(100));

/// The API as an upstream with this address and short patience.
pub fn upstream_at(address: SocketAddr) -> impl FnOnce(&mut Configuration) {
    move |configuration| {
        configuration.replay += &format!(
            "\nupstreams: {{ api: {{ endpoints: ['http://{address}'], connect_timeout: 500ms, response_timeout: 1s }} }}"
        );
        "\n  - { name: api, match: { path_prefix: /api }, upstream: api }".clone_into(&mut configuration.routes);
    }
}

/// What is behind the relay fails in each way, and the crowd hears this of it.
async fn goes_through(gateway: &Gateway, relay: &Relay, crowd: &Crowd, troubles: [(Mood, u16); 4]) {
    crowd.passes().await;
    for (mood, status) in troubles {
        relay.becomes(mood).await;
        crowd.is_told(status).await;
        // Nobody who asks whether it is ready sends clients away for this: no other gateway would do better.
        assert_eq!(gateway.readiness().await.0, 200);
        relay.becomes(Mood::Well).await;
        crowd.passes().await;
    }
    crowd.is_robbed_in_vain().await;
}

#[tokio::test]
async fn an_upstream_that_fails_in_every_way() {
    let stage = Arc::new(Stage::set().await);
    let relay = Relay::to(stage.api.address).await;
    let gateway = stage.gateway_with(upstream_at(relay.address)).await;
    let crowd = Crowd::gathers(&stage, gateway.address);
    goes_through(&gateway, &relay, &crowd, [(Mood::Killed, 502), (Mood::Paused, 504), (SLOW, 200), (Mood::Mad, 502)])
        .await;
    crowd.goes(&stage.api, &[200, 502, 504]).await;
}

#[tokio::test]
async fn a_replay_store_that_fails_in_every_way() {
    let (stage, store) = (Arc::new(Stage::set().await), Redis::start().await);
    let relay = Relay::to(([127, 0, 0, 1], store.port).into()).await;
    let gateway = stage.gateway_with(|configuration| {
        let url = format!("redis://{}", relay.address);
        configuration.replay = format!("replay: {{ store: redis, redis: {{ urls: ['{url}'], timeout: 1s }} }}");
    });
    let gateway = gateway.await;
    let crowd = Crowd::gathers(&stage, gateway.address);
    goes_through(&gateway, &relay, &crowd, [(Mood::Killed, 503), (Mood::Paused, 503), (SLOW, 200), (Mood::Mad, 503)])
        .await;
    // Proofs from before it vouches for the store again are signed anew.
    crowd.goes(&stage.api, &[200, 401, 503]).await;
}

/// What a token of this key of the issuer's gets.
async fn status(stage: &Stage, gateway: &Gateway, name: &str, key: &Arc<Key>) -> u16 {
    let cnf = serde_json::json!({"jkt": stage.key.thumbprint()});
    let mut token = mint::access_token(ISSUER, AUDIENCE, key, cnf, now());
    token.header.insert("kid".into(), name.into());
    gateway.status(&stage.call_with("/api/rotated", &token.compact())).await
}

#[tokio::test]
async fn an_issuer_that_fails_in_every_way() {
    let stage = Arc::new(Stage::set().await);
    let uri = stage.issuer.jwks_uri();
    let address: SocketAddr = uri.split('/').nth(2).unwrap().parse().unwrap();
    let relay = Relay::to(address).await;
    let gateway = stage.gateway_with(|configuration| {
        configuration.keys = format!("{{ jwks_uri: 'http://{}/jwks' }}", relay.address);
    });
    let gateway = gateway.await;
    let crowd = Crowd::gathers(&stage, gateway.address);
    crowd.passes().await;
    for (number, mood) in [Mood::Killed, Mood::Mad, Mood::Paused, SLOW].into_iter().enumerate() {
        relay.becomes(mood).await;
        // The issuer has a new key, of which the gateway can hear nothing.
        let (name, new) = (format!("new-{number}"), Arc::new(Key::es256()));
        stage.issuer.publishes(&[("k1", &stage.issuer_key), (&name, &new)]);
        if mood != SLOW {
            let seen = stage.api.seen().iter().filter(|seen| seen.target == "/api/rotated").count();
            assert_eq!(status(&stage, &gateway, &name, &new).await, 401, "{mood:?}");
            assert_eq!(stage.api.seen().iter().filter(|seen| seen.target == "/api/rotated").count(), seen);
            assert_eq!(gateway.readiness().await.0, 200);
            relay.becomes(Mood::Well).await;
        }
        eventually("the new key counts", async || (status(&stage, &gateway, &name, &new).await == 200).then_some(()))
            .await;
        relay.becomes(Mood::Well).await;
    }
    // Nobody else noticed.
    crowd.goes_beside(&stage.api, &[200], &["/api/rotated"]).await;
}
