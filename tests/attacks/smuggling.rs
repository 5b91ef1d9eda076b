//! Requests that somebody could take for two: over HTTP/1.1 as bytes, over HTTP/2 as frames. Each is played through an open
//! and through a protected route in front of each upstream; then a good request passes, and nothing else has arrived.

use std::rc::Rc;

use tokio::task::{LocalSet, spawn_local};

use crate::corpus::{CASES, Case};
use crate::eventually;
use crate::frames::{self, FRAMES};
use crate::origin::Kind;
use crate::range::{DOORS, Door, Range};
use crate::support::HOST;

fn filled(case: &Case, range: &Range, door: Door, path: &str) -> Vec<u8> {
    let credentials = range.credentials(door, case.method(), path);
    let credentials: String = credentials.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let smuggled = format!("GET /open/smuggled HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
    let text = case
        .text
        .replace("{fields}", &format!("Host: {HOST}\r\n{credentials}"))
        .replace("{credentials}", &credentials)
        .replace("{path}", path)
        .replace("{host}", HOST)
        .replace("{length}", &smuggled.len().to_string())
        .replace("{hex}", &format!("{:x}", smuggled.len()))
        .replace("{smuggled}", &smuggled)
        .replace("{long}", &"x".repeat(40_000));
    text.into_bytes()
}

/// Plays everything, and says at the end what failed.
async fn plays_all(kind: Kind) {
    LocalSet::new().run_until(all_against(kind)).await;
}

async fn all_against(kind: Kind) {
    let all = Rc::new(Range::set(kind).await);
    let mut failed = Vec::new();
    for door in DOORS {
        for case in CASES {
            let range = Rc::clone(&all);
            let plays = async move {
                let path = range.path(door);
                let bytes = filled(case, &range, door, &path);
                range.play(case.name, &bytes, case.method(), &path, case.holds, case.leaves).await;
                range.is_well(door, case.name).await;
            };
            if spawn_local(plays).await.is_err() {
                failed.push((door, case.name));
                all.forgives();
            }
        }
        for case in FRAMES {
            let range = Rc::clone(&all);
            let plays = async move {
                frames::play(case, &range, door).await;
                range.is_well(door, case.name).await;
            };
            if spawn_local(plays).await.is_err() {
                failed.push((door, case.name));
                all.forgives();
            }
        }
    }
    assert!(failed.is_empty(), "{kind:?}: {failed:#?}");
    all.is_well(Door::Open, "all").await;
}

#[tokio::test]
async fn nothing_is_smuggled_to_nginx() {
    plays_all(Kind::Nginx).await;
}

#[tokio::test]
async fn nothing_is_smuggled_to_apache() {
    plays_all(Kind::Apache).await;
}

#[tokio::test]
async fn nothing_is_smuggled_to_node() {
    plays_all(Kind::Node).await;
}

#[tokio::test]
async fn whatever_arrives_has_one_reading() {
    plays_all(Kind::Strict).await;
}

/// The account would show a second request: two honest ones in one write are seen as two, and one that is not expected is
/// noticed.
#[tokio::test]
async fn a_second_request_would_be_noticed() {
    for kind in [Kind::Nginx, Kind::Apache, Kind::Node, Kind::Strict] {
        let range = Range::set(kind).await;
        let one = range.path(Door::Open);
        let text = format!("GET {one} HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
        let two = format!("{text}GET /open/smuggled HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n");
        range.expect("GET", &one, true);
        range.expect("GET", "/open/smuggled", true);
        let mut stream = range.connect(crate::support::wire::Http::One).await;
        tokio::io::AsyncWriteExt::write_all(&mut stream, two.as_bytes()).await.unwrap();
        let answers = crate::range::rest(&mut *stream).await;
        assert_eq!(String::from_utf8_lossy(&answers).matches("HTTP/1.1 200").count(), 2, "{kind:?}");
        range.is_well(Door::Open, "two requests").await;
        // The same without telling the account.
        let message = range.message("GET", "/open/smuggled", Vec::new());
        assert_eq!(range.gateway.status(&message).await, 200);
        let strays = eventually("it is seen", async || Some(range.strays()).filter(|strays| !strays.is_empty())).await;
        assert!(strays.len() == 1 && strays[0].starts_with("GET /open/smuggled "), "{kind:?}: {strays:?}");
    }
}
