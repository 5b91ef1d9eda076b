//! A clock that is set while the gateway runs: by libfaketime, which stands between the program and the system's time.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use serde_json::json;

use crate::crowd::Crowd;
use crate::eventually;
use crate::stage::{Gateway, Stage, message, now};
use crate::support::wire::Message;
use crate::support::{HOST, mint};

const HOUR: i64 = 3600;

struct Clock<'a> {
    stage: &'a Stage,
    gateway: Gateway,
    token: String,
}

impl<'a> Clock<'a> {
    async fn winds(stage: &'a Stage) -> Self {
        set(stage, 0);
        let library = "target/interop/debian/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1";
        let library = Path::new(env!("CARGO_MANIFEST_DIR")).join(library);
        assert!(library.exists(), "{} is missing: run `make test`, which installs it first", library.display());
        let mut command = Command::new(env!("CARGO_BIN_EXE_keybound"));
        command.env("LD_PRELOAD", library).env("FAKETIME_TIMESTAMP_FILE", stage.file("clock"));
        // Asked each time; and only what date and hour it is.
        command.envs(["FAKETIME_NO_CACHE", "FAKETIME_DONT_FAKE_MONOTONIC", "NO_FAKE_STAT"].map(|name| (name, "1")));
        let gateway = stage.gateway_by(&mut command, |configuration| {
            configuration.replay += "\ndpop: { proof_lifetime: 10s, clock_skew: 2s }";
        });
        let gateway = gateway.await;
        gateway.program.says("ready").await;
        // So that an hour is no matter.
        let mut token = stage.token_of(json!({"jkt": stage.key.thumbprint()}));
        token.claims.insert("iat".into(), (now() - 2 * HOUR).into());
        token.claims.insert("exp".into(), (now() + 2 * HOUR).into());
        Self { stage, gateway, token: token.compact() }
    }

    /// Sets the gateway's clock so many seconds off, and waits until it has noticed.
    async fn is_off_by(&self, seconds: i64) {
        let jumps = async || self.gateway.scrape().await.sum("keybound_clock_jumps_total", &[]);
        let before = jumps().await;
        set(self.stage, seconds);
        eventually("it is noticed", async || (jumps().await > before).then_some(())).await;
    }

    /// A request of a client whose clock is off by so many seconds.
    fn signed(&self, path: &str, off: i64) -> Message {
        let mut proof = mint::proof(&self.stage.key, "GET", &format!("https://{HOST}{path}"), now() + off);
        proof.claims.insert("ath".into(), mint::ath(&self.token).into());
        message(path, &[("Authorization", &format!("DPoP {}", self.token)), ("DPoP", &proof.compact())])
    }

    async fn refuses(&self, message: &Message, reasons: &[&str]) {
        let seen = self.stage.api.seen().iter().filter(|seen| seen.target == message.target).count();
        let answer = self.gateway.send(message).await;
        let line = self.gateway.access_line(answer.header("x-request-id").unwrap()).await;
        let reason = line["reason"].as_str().unwrap_or_default();
        assert!(answer.status == 401 && reasons.contains(&reason), "{}: {}, {reason}", message.target, answer.status);
        let arrived = self.stage.api.seen().iter().filter(|seen| seen.target == message.target).count();
        assert_eq!(arrived, seen, "{}", message.target);
    }
}

/// In one step, so that nobody reads half of it.
fn set(stage: &Stage, seconds: i64) {
    let new = stage.file("clock.new");
    fs::write(&new, format!("{seconds:+}")).unwrap();
    fs::rename(new, stage.file("clock")).unwrap();
}

#[tokio::test]
async fn a_clock_that_goes_an_hour_back_and_an_hour_forward() {
    let stage = Arc::new(Stage::set().await);
    let clock = Clock::winds(&stage).await;
    let pass = async |path: &str, off| {
        eventually(path, async || {
            let message = clock.signed(path, off);
            (clock.gateway.status(&message).await == 200).then_some(message)
        })
        .await
    };
    let spent = pass("/api/clock/spent", 0).await;
    let crowd = Crowd::gathers(&stage, clock.gateway.address);
    crowd.passes().await;

    clock.is_off_by(-HOUR).await;
    clock.refuses(&spent, &["proof_future"]).await;
    clock.refuses(&clock.signed("/api/clock/good", 0), &["proof_future"]).await;
    // It cannot know what was spent an hour ago.
    clock.refuses(&clock.signed("/api/clock/behind", -HOUR), &["proof_before_start"]).await;
    crowd.is_told(401).await;

    clock.is_off_by(0).await;
    clock.refuses(&spent, &["proof_replayed", "proof_stale"]).await;
    crowd.passes().await;

    clock.is_off_by(HOUR).await;
    clock.refuses(&spent, &["proof_stale"]).await;
    clock.refuses(&clock.signed("/api/clock/good", 0), &["proof_stale"]).await;
    // Of clients who go by the same clock.
    let ahead = pass("/api/clock/ahead", HOUR).await;
    clock.refuses(&ahead, &["proof_replayed"]).await;
    crowd.is_told(401).await;

    clock.is_off_by(0).await;
    clock.refuses(&spent, &["proof_replayed", "proof_stale"]).await;
    clock.refuses(&ahead, &["proof_future"]).await;
    crowd.passes().await;

    clock.is_off_by(HOUR).await;
    clock.refuses(&ahead, &["proof_replayed", "proof_stale"]).await;
    clock.is_off_by(0).await;
    crowd.passes().await;
    let by_hand = ["/api/clock/spent", "/api/clock/ahead"];
    let seen = stage.api.seen();
    for path in by_hand {
        assert_eq!(seen.iter().filter(|seen| seen.target == path).count(), 1, "{path}");
    }
    crowd.goes_beside(&stage.api, &[200, 401], &by_hand).await;
}
