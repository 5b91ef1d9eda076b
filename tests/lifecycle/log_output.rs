//! Standard output that is read late, or not any more, and the last lines of a process.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;

use crate::stage::{Gateway, Stage, message};
use crate::support::wire::Http;
use crate::{eventually, in_time};

/// Sends more than the pipe and the gateway hold, with nobody reading, until nothing moves any more.
async fn clog(gateway: &Gateway) -> (JoinSet<Option<String>>, usize) {
    // A line is as long as its path.
    const LENGTH: usize = 15_000;
    const REQUESTS: usize = 2 * 4 * 1024 * 1024 / LENGTH;
    let (mut calls, done) = (JoinSet::new(), Arc::new(AtomicUsize::new(0)));
    for _ in 0..REQUESTS {
        let (dialer, done) = (gateway.dialer(), Arc::clone(&done));
        calls.spawn(async move {
            let path = format!("/elsewhere/{}", "x".repeat(LENGTH));
            let answer = dialer.send(Http::One, &message(&path, &[])).await;
            done.fetch_add(1, Ordering::SeqCst);
            Some(answer.ok()?.header("x-request-id")?.to_owned())
        });
    }
    let before = AtomicUsize::new(usize::MAX);
    eventually("requests wait for standard output", async || {
        // Nothing moves for this long.
        tokio::time::sleep(Duration::from_secs(1)).await;
        let now = done.load(Ordering::SeqCst);
        (before.swap(now, Ordering::SeqCst) == now).then_some(())
    })
    .await;
    assert!(done.load(Ordering::SeqCst) < REQUESTS);
    // The operator is answered all the same.
    in_time("the admin port", gateway.admin("/healthz")).await;
    (calls, REQUESTS)
}

#[tokio::test]
async fn requests_wait_for_a_full_pipe_and_no_line_is_lost() {
    let stage = Stage::set().await;
    let gateway = stage.gateway().await;
    let held = gateway.program.hold_output().await;
    let (calls, requests) = clog(&gateway).await;
    drop(held);
    let ids: BTreeSet<String> =
        in_time("all answers", calls.join_all()).await.into_iter().map(Option::unwrap).collect();
    assert_eq!(ids.len(), requests);
    assert_eq!(gateway.status(&stage.call("/api/item")).await, 200);
    gateway.program.signal("TERM");
    let ended = gateway.program.ended().await;
    assert_eq!((ended.code, ended.err.as_str()), (0, ""));
    let lines = ended.out.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let logged: BTreeSet<String> = lines.filter_map(|line| Some(line["request_id"].as_str()?.to_owned())).collect();
    assert!(ids.is_subset(&logged), "{} of {}", logged.len(), requests + 1);
    assert_eq!(logged.len(), requests + 1);
}

#[tokio::test]
async fn a_pipe_that_nobody_reads_does_not_keep_it_from_its_end() {
    let stage = Stage::set().await;
    let gateway = stage
        .gateway_with(|configuration| configuration.limits = "{ drain_delay: 0s, drain_timeout: 1s }".to_owned())
        .await;
    let held = gateway.program.hold_output().await;
    let (calls, _) = clog(&gateway).await;
    gateway.program.signal("TERM");
    // Its standard error closes with it.
    gateway.program.closes(1).await;
    drop((calls, held));
    let ended = gateway.program.ended().await;
    assert!(ended.err.starts_with("warning: the log is not whole: "), "{}", ended.err);
}

#[tokio::test]
async fn when_standard_output_is_closed_it_goes_on_without_a_log() {
    let stage = Stage::set().await;
    let gateway = stage.gateway().await;
    *gateway.program.hold_output().await = false;
    // The reader goes with the first of these lines; of the others nobody hears.
    for _ in 0..5 {
        assert_eq!(gateway.status(&stage.call("/api/item")).await, 200);
    }
    gateway.program.closes(1).await;
    for _ in 0..20 {
        assert_eq!(gateway.status(&stage.call("/api/item")).await, 200);
        assert_eq!(gateway.status(&message("/api/item", &[])).await, 401);
    }
    gateway.program.signal("TERM");
    let ended = gateway.program.ended().await;
    assert_eq!((ended.code, ended.err.as_str()), (0, ""));
}

#[tokio::test]
async fn the_last_lines_are_written_before_the_end() {
    let stage = Stage::set().await;
    let gateway = stage.gateway().await;
    let answers = [gateway.send(&stage.call("/api/item")).await, gateway.send(&message("/elsewhere", &[])).await];
    gateway.program.signal("TERM");
    let ended = gateway.program.ended().await;
    for answer in answers {
        let id = answer.header("x-request-id").unwrap();
        assert!(ended.out.contains(&format!(r#""request_id":"{id}","#)), "{}", ended.out);
    }
    assert!(ended.out.lines().last().unwrap().contains(r#""message":"stopped""#), "{}", ended.out);
}
