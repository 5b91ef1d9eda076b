//! Handshakes that ask for what is not given: renegotiation, early data, other protocols, other groups.

use std::fs;
use std::io::Write as _;
use std::process::Stdio;

use crate::clients::{self, s_client, visit};
use crate::der;
use crate::ground::{Door, Ground, issued, last, open};
use crate::support::frames::{self, END_HEADERS, END_STREAM, HEADERS, SETTINGS, block, push_frame};

#[tokio::test]
async fn nobody_renegotiates() {
    // The refusal is a warning, which may wait until there is something else to say; the client does not go on before.
    let ground = Ground::set_with(90, |configuration| configuration.limits = "{ idle_timeout: 3s }".to_owned()).await;
    let identity = issued(&ground.clients, |_| {});
    clients::write(&ground, "mine", &identity);
    for door in [Door::Any, Door::Silent] {
        let (ok, seen) = (ground.handshakes("ok").await, ground.stage.api.count());
        let mine = ["-tls1_2", "-cert", "mine.pem", "-key", "mine.key"];
        let mut client = s_client(&ground, door, &mine, Stdio::piped());
        let mut input = client.input();
        client.shows("Verify return code: 0 (ok)").await;
        // Servers that do not speak of it are open to CVE-2009-3555, and those without this to the triple handshake.
        client.shows("Secure Renegotiation IS supported").await;
        client.shows("Extended master secret: yes").await;
        input.write_all(b"R\n").unwrap();
        client.shows("RENEGOTIATING").await;
        // It asks when it has something to say.
        input.write_all(&last(&ground.call(&identity))).unwrap();
        let ended = client.ended().await;
        assert!(ended.err.contains("no renegotiation"), "{}", ended.err);
        assert_eq!((ground.handshakes("ok").await, ground.stage.api.count()), (ok + 1.0, seen));
        ground.is_well("a renegotiation").await;
    }
}

/// [15] says how much early data the server takes; without it, none.
fn as_if_early_data_were_welcome(session: &[u8]) -> Vec<u8> {
    const EARLY_DATA: u8 = 0xA0 | 15;
    let mut parts = der::parts(session);
    assert!(parts.iter().all(|part| part[0] != EARLY_DATA), "the gateway says nothing of early data");
    let welcome = der::element(EARLY_DATA, &der::element(der::INTEGER, &[0x40, 0]));
    let at = parts.iter().position(|part| part[0] > EARLY_DATA).unwrap_or(parts.len());
    parts.insert(at, &welcome);
    der::element(der::SEQUENCE, &parts.concat())
}

#[tokio::test]
async fn early_data_reach_nobody() {
    const LABEL: &str = "SSL SESSION PARAMETERS";
    let ground = Ground::set().await;
    let session = ground.stage.file("session");
    for door in [Door::Any, Door::Silent] {
        let first = visit(&ground, door, &["-tls1_3", "-sess_out", "session"], &last(&open("/open/first"))).await;
        assert_eq!(first.status, Some(200), "{}", first.output);
        let good = der::from_pem(LABEL, &fs::read_to_string(&session).unwrap());
        fs::write(&session, der::pem(LABEL, &as_if_early_data_were_welcome(&good))).unwrap();
        fs::write(ground.stage.file("early"), open("/open/early").to_bytes()).unwrap();
        let seen = ground.stage.api.count();
        let early = ["-tls1_3", "-sess_in", "session", "-early_data", "early"];
        let second = visit(&ground, door, &early, &last(&open("/open/late"))).await;
        assert!(second.output.contains("Early data was rejected"), "{}", second.output);
        assert_eq!((second.reused, second.status), (Some(true), Some(200)), "{}", second.output);
        let targets: Vec<String> = ground.stage.api.seen().into_iter().map(|seen| seen.target).collect();
        assert!(!targets.contains(&"/open/early".to_owned()), "{targets:?}");
        assert_eq!(targets.len(), seen + 1, "{targets:?}");
        // The same session without early data.
        fs::write(&session, der::pem(LABEL, &good)).unwrap();
        let third = visit(&ground, door, &["-tls1_3", "-sess_in", "session"], &last(&open("/open/third"))).await;
        assert_eq!((third.reused, third.status), (Some(true), Some(200)), "{}", third.output);
        ground.is_well("early data").await;
    }
}

#[tokio::test]
async fn who_asked_for_one_protocol_may_not_speak_another() {
    let ground = Ground::set().await;
    let message = ground.stage.call("/api/item");
    let one = last(&message);
    let mut two = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    push_frame(SETTINGS, 0, 0, &[], &mut two);
    push_frame(HEADERS, END_HEADERS | END_STREAM, 1, &block(&frames::fields(&message)), &mut two);
    for (protocol, bytes) in [("h2", &one), ("http/1.1", &two)] {
        let failed = ground.failures().len();
        let visit = visit(&ground, Door::Silent, &["-alpn", protocol], bytes).await;
        assert!(visit.output.contains(&format!("ALPN protocol: {protocol}")), "{}", visit.output);
        assert!(visit.status.is_none_or(|status| status == 400), "{protocol}: {}", visit.output);
        assert_eq!((ground.stage.api.count(), ground.failures().len()), (0, failed), "{protocol}");
    }
    let failed = ground.failures().len();
    let visit = visit(&ground, Door::Silent, &["-alpn", "http/1.0,spdy/3,h2c,h3"], &one).await;
    assert!(visit.output.contains("no application protocol"), "{}", visit.output);
    assert!(ground.failure(failed).await.contains("known protocol"), "{:?}", ground.failures());
    assert_eq!(ground.stage.api.count(), 0);
    // The same request, as agreed, of which no part was heard before.
    let visit = crate::clients::visit(&ground, Door::Silent, &["-alpn", "spdy/3,http/1.1"], &one).await;
    assert_eq!((visit.status, ground.stage.api.count()), (Some(200), 1), "{}", visit.output);
}

#[tokio::test]
async fn who_guesses_another_group_is_asked_again() {
    let ground = Ground::set().await;
    let hellos = |output: &str| {
        ["ClientHello", "ServerHello"].map(|hello| output.lines().filter(|line| line.ends_with(hello)).count())
    };
    for (groups, count) in [("X25519:P-521", 1), ("P-521:X25519", 2), ("P-521:X448:P-384", 2)] {
        let arguments = ["-tls1_3", "-msg", "-groups", groups];
        let visit = visit(&ground, Door::Silent, &arguments, &last(&ground.stage.call("/api/item"))).await;
        assert_eq!((visit.status, hellos(&visit.output)), (Some(200), [count, count]), "{groups}: {}", visit.output);
    }
    for (version, groups) in [("-tls1_3", "P-521:X448"), ("-tls1_2", "P-521:X448")] {
        let failed = ground.failures().len();
        let seen = ground.stage.api.count();
        let call = last(&ground.stage.call("/api/item"));
        let visit = visit(&ground, Door::Silent, &[version, "-groups", groups], &call).await;
        assert_eq!((visit.status, ground.stage.api.count()), (None, seen), "{}", visit.output);
        assert!(visit.output.contains("alert handshake failure"), "{}", visit.output);
        let found = ground.failure(failed).await;
        assert!(found.contains("NoKxGroupsInCommon") || found.contains("NoCipherSuitesInCommon"), "{found}");
    }
    ground.is_well("groups").await;
}

/// Who offers to authenticate later is not asked, and is nobody.
#[tokio::test]
async fn nobody_authenticates_after_the_handshake() {
    let ground = Ground::set().await;
    let identity = issued(&ground.clients, |_| {});
    clients::write(&ground, "mine", &identity);
    let offers = ["-tls1_3", "-enable_pha", "-cert", "mine.pem", "-key", "mine.key"];
    let call = last(&ground.call(&identity));
    let silent = visit(&ground, Door::Silent, &offers, &call).await;
    assert_eq!((silent.status, ground.stage.api.count()), (Some(401), 0), "{}", silent.output);
    assert_eq!(ground.reason(silent.request_id.as_ref().unwrap()).await, "certificate_missing");
    let asked = visit(&ground, Door::Authorities, &offers, &call).await;
    assert_eq!((asked.status, ground.stage.api.count()), (Some(200), 1), "{}", asked.output);
}

/// Each asks for an answer, and none brings a request nearer.
#[tokio::test]
async fn who_asks_for_new_keys_again_and_again_is_let_go() {
    const PLENTY: usize = 200;
    let ground = Ground::set().await;
    let mut client = s_client(&ground, Door::Silent, &["-tls1_3"], Stdio::piped());
    let mut input = client.input();
    client.shows("Verify return code: 0 (ok)").await;
    let mut asked = 0;
    // A letter that comes with others is none.
    while asked < PLENTY && input.write_all(b"K\n").is_ok() {
        asked += 1;
        if !client.shows_or_ends("KEYUPDATE", asked).await {
            break;
        }
    }
    assert!(asked < PLENTY, "{}", client.everything());
    println!("{asked} requests for new keys");
    client.ended().await;
    ground.is_well("requests for new keys").await;
    let mut few = s_client(&ground, Door::Silent, &["-tls1_3"], Stdio::piped());
    let mut input = few.input();
    few.shows("Verify return code: 0 (ok)").await;
    for (number, letter) in [b"K\n", b"k\n", b"K\n"].into_iter().enumerate() {
        input.write_all(letter).unwrap();
        assert!(few.shows_or_ends("KEYUPDATE", number + 1).await);
    }
    input.write_all(&last(&open("/open/item"))).unwrap();
    few.shows("HTTP/1.1 200").await;
}
