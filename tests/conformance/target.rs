//! The request's own address: NEG-099 to NEG-101, NEG-240 to NEG-249, and what is equal all the same.

use keybound::refusal::Reason;
use keybound::routes::Match;

use crate::support::frames::{self, Fields, Outcome};
use crate::support::wire::Http;
use crate::support::{HOST, Plan, World, server_certificate, world};

#[tokio::test]
async fn neg_099_and_240_a_host_that_is_none() {
    let world = world().await;
    for host in [
        "rs.example/other?",
        "rs.example#",
        "user@rs.example",
        "rs example",
        "rs.example:0443",
        "a,b",
        "",
        ":443",
        "rs..example",
    ] {
        let shot = world.good().with(|shot| shot.host = Some(host.to_owned()));
        world.refuses_over(Http::One, Reason::HostInvalid, &shot).await;
    }
    let none = world.good().with(|shot| shot.host = None);
    world.refuses_over(Http::One, Reason::HostInvalid, &none).await;
    let two = world.good().header("Host", HOST);
    world.refuses_over(Http::One, Reason::HostInvalid, &two).await;
}

#[tokio::test]
async fn neg_242_and_pos_49_an_authority_and_a_host() {
    let world = world().await;
    world.refuses_over(Http::Two, Reason::HostInvalid, &world.good().header("Host", "other.example")).await;
    for shot in [world.good(), world.good().header("Host", HOST)] {
        world.passes_over(Http::Two, &shot).await;
        assert_eq!(world.upstream.last().all("host"), [HOST]);
    }
}

#[tokio::test]
async fn neg_100_and_101_paths_that_could_be_read_otherwise() {
    let world = world().await;
    for target in [
        "/api/../admin",
        "/api/./item",
        "/%2e%2e/",
        "/api/%2E./x",
        "/api/..;/x",
        "/api/..%3b/x",
        "/api\\item",
        "/api%5citem",
        "/api%2fitem",
        "//rs.example/api",
        "/api/%00",
        "/api/%7f",
        "/api/%zz",
        "/api/%",
        "/%c0%ae%c0%ae/",
    ] {
        world.refuses_over(Http::One, Reason::TargetInvalid, &world.good().target(target)).await;
    }
    for target in ["/api/../admin", "/%2e%2e/", "/api%2fitem", "//rs.example/api"] {
        world.refuses_over(Http::Two, Reason::TargetInvalid, &world.good().target(target)).await;
    }
    for target in ["*", "https://rs.example?/api/item"] {
        let shot = world.good().with(|shot| shot.target = target.to_owned());
        world.refuses_over(Http::One, Reason::TargetInvalid, &shot).await;
    }
}

/// Sends what no library would. It is refused for this reason, if any handler hears of it at all, and the
/// world is as before.
async fn refuses_frames(world: &World, reason: Option<Reason>, fields: Fields) {
    let before = reason.map(|reason| world.refusals("none", reason));
    let (seen, spent) = (world.upstream.count(), world.spent());
    let outcome = frames::send(&world.dialer, &fields).await.unwrap();
    let context = frames::shown(&fields);
    assert_eq!(outcome == Outcome::Answered, reason.is_some(), "{outcome:?} {context}");
    assert_eq!(reason.map(|reason| world.refusals("none", reason)), before.map(|count| count + 1), "{context}");
    assert_eq!((world.upstream.count(), world.spent()), (seen, spent), "{context}");
    world.passes_over(Http::Two, &world.good()).await;
}

#[tokio::test]
async fn neg_100_targets_that_only_frames_can_carry() {
    let world = world().await;
    let good = || frames::fields(&world.good().message());
    assert_eq!(frames::send(&world.dialer, &good()).await.unwrap(), Outcome::Answered);
    assert_eq!(world.upstream.count(), 1, "an honest request made of frames passes");
    for path in ["//rs.example/api/item", "*", "/api\\item", "?", "?/api/item"] {
        refuses_frames(&world, Some(Reason::TargetInvalid), frames::with(good(), ":path", Some(path.as_bytes()))).await;
    }
    for path in ["", "api/item", "https://rs.example/api/item", "/api/ item", "/api/\u{7f}"] {
        refuses_frames(&world, None, frames::with(good(), ":path", Some(path.as_bytes()))).await;
    }
}

#[tokio::test]
async fn neg_100_a_fragment_is_cut_before_anyone_reads_it() {
    let world = world().await;
    let target = "/api/item?q=1#/../admin";
    world.passes_over(Http::One, &world.good().target_only(target)).await;
    assert_eq!(world.upstream.last().target, "/api/item?q=1");
    let fields = frames::with(frames::fields(&world.good().message()), ":path", Some(target.as_bytes()));
    assert_eq!(frames::send(&world.dialer, &fields).await.unwrap(), Outcome::Answered);
    assert_eq!((world.upstream.count(), world.upstream.last().target.as_str()), (2, "/api/item?q=1"));
}

#[tokio::test]
async fn neg_243_no_authority_at_all() {
    let world = world().await;
    let fields = frames::with(frames::fields(&world.good().message()), ":authority", None);
    refuses_frames(&world, Some(Reason::HostInvalid), fields.clone()).await;
    refuses_frames(&world, Some(Reason::HostInvalid), frames::with(fields, "host", Some(b""))).await;
}

#[tokio::test]
async fn neg_246_and_247_connect_over_http2() {
    let world = world().await;
    let shot = world.good().method("CONNECT");
    let fields = frames::fields(&shot.message());
    let plain = frames::with(frames::with(fields.clone(), ":path", None), ":scheme", None);
    refuses_frames(&world, Some(Reason::MethodNotServed), plain).await;
    // RFC 8441 §4: nobody told the client that it may.
    refuses_frames(&world, None, frames::with(fields, ":protocol", Some(b"websocket"))).await;
}

#[tokio::test]
async fn neg_254_bytes_that_end_a_field_line() {
    let world = world().await;
    for value in [&b"a\r\nX-Admin: 1"[..], b"a\nb", b"a\rb", b"a\0b"] {
        for name in ["x-custom", "authorization", "dpop", ":path"] {
            let fields = frames::fields(&world.good().message());
            refuses_frames(&world, None, frames::with(fields, name, Some(value))).await;
        }
    }
}

#[tokio::test]
async fn neg_224_an_authority_of_another_certificate() {
    let plan = Plan { more_certificates: vec![server_certificate(&["other.example"])], ..Plan::default() };
    let world = plan.start().await;
    let htu = "https://other.example/api/item";
    let shot = world.good().with(|shot| shot.host = Some("other.example".to_owned())).proof_claim("htu", htu);
    world.refuses(Reason::AuthorityMisdirected, &shot).await;
    // The same request over a connection that asked for that name.
    let dialer = crate::support::wire::Dialer { server_name: "other.example".to_owned(), ..world.dialer.clone() };
    world.passes(&shot.dial(dialer)).await;
}

#[tokio::test]
async fn neg_241_a_host_that_no_route_knows() {
    let matches = Match { hosts: vec![HOST.to_owned()], ..Match::default() };
    let world = Plan { matches, ..Plan::default() }.start().await;
    let htu = "https://other.example/api/item";
    let shot = world.good().with(|shot| shot.host = Some("other.example".to_owned())).proof_claim("htu", htu);
    world.refuses(Reason::NoRoute, &shot).await;
}

#[tokio::test]
async fn neg_244_connection_nominates_what_is_not_its_own() {
    let world = world().await;
    for name in
        ["authorization", "DPoP", "x-forwarded-for", "client-cert", "host", "content-length", "close, Authorization"]
    {
        world.refuses_over(Http::One, Reason::ConnectionNominates, &world.good().header("Connection", name)).await;
    }
    world.passes_over(Http::One, &world.good().header("Connection", "x-custom").header("X-Custom", "1")).await;
    assert_eq!(world.upstream.last().header("x-custom"), None);
}

#[tokio::test]
async fn neg_245_framing_that_could_be_read_otherwise() {
    let world = world().await;
    let head = |extra: &str| {
        let message = world.good().method("POST").message();
        let text = String::from_utf8(message.to_bytes()).unwrap();
        format!("{}{extra}\r\n", text.strip_suffix("\r\n").unwrap())
    };
    for text in [
        head("Content-Length: 3\r\nContent-Length: 4\r\n") + "abcd",
        head("Content-Length: -1\r\n"),
        head("Content-Length: 3, 4\r\n") + "abcd",
        head("Transfer-Encoding: xchunked\r\n") + "0\r\n\r\n",
        head("Transfer-Encoding: chunked, identity\r\n") + "0\r\n\r\n",
        head("Bad Name: 1\r\n"),
        head("Name : 1\r\n"),
        head("X: a\rb\r\n"),
        head("X: a\0b\r\n"),
    ] {
        let before = world.refusals("none", Reason::MessageMalformed);
        let answer = world.dialer.send_bytes(text.as_bytes(), false).await.unwrap();
        assert_eq!((answer.status, world.upstream.count()), (400, 0), "{text}");
        world.refused("none", Reason::MessageMalformed, before + 1).await;
    }
    world.passes(&world.good()).await;
}

#[tokio::test]
async fn neg_245_two_framings_are_400_and_the_connection_ends() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let world = world().await;
    let text = String::from_utf8(world.good().method("POST").message().to_bytes()).unwrap();
    let text = text.strip_suffix("\r\n").unwrap();
    for framing in [
        "Content-Length: 40\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 40\r\n",
        "Content-Length: 5\r\nContent-Length: 5\r\n",
    ] {
        let smuggled = format!("{text}{framing}\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: rs.example\r\n\r\n");
        let before = world.refusals("none", Reason::MessageMalformed);
        let mut stream = world.dialer.connect(Http::One).await.unwrap();
        stream.write_all(smuggled.as_bytes()).await.unwrap();
        let answer = crate::support::wire::read_answer(&mut *stream, false).await.unwrap();
        let mut rest = Vec::new();
        let _ = tokio::time::timeout(crate::support::wire::PATIENCE, stream.read_to_end(&mut rest)).await.unwrap();
        assert!(rest.is_empty(), "no second answer: {}", String::from_utf8_lossy(&rest));
        assert_eq!((answer.status, world.upstream.count()), (400, 0), "{framing:?}");
        world.refused("none", Reason::MessageMalformed, before + 1).await;
    }
    world.passes(&world.good()).await;
}

#[tokio::test]
async fn neg_245_a_line_that_ends_in_a_bare_lf() {
    let world = world().await;
    let text = String::from_utf8(world.good().message().to_bytes()).unwrap();
    // The end of each line of the head, the empty one included, and all of them.
    let lines = text.matches("\r\n").count();
    let bare = (0..lines).map(|line| {
        let (at, _) = text.match_indices("\r\n").nth(line).unwrap();
        format!("{}{}", &text[..at], &text[at + 1..])
    });
    for text in bare.chain([text.replace("\r\n", "\n"), format!("\n{text}")]) {
        let before = world.refusals("none", Reason::MessageMalformed);
        let answer = world.dialer.send_bytes(text.as_bytes(), false).await.unwrap();
        assert_eq!((answer.status, answer.header("connection")), (400, Some("close")), "{text:?}");
        assert_eq!(world.upstream.count(), 0, "{text:?}");
        world.refused("none", Reason::MessageMalformed, before + 1).await;
    }
    world.passes(&world.good()).await;
    // Behind a body, too: in a trailer.
    let text = String::from_utf8(world.good().method("POST").message().to_bytes()).unwrap();
    let text = text.strip_suffix("\r\n").unwrap();
    let text = format!("{text}Transfer-Encoding: chunked\r\n\r\n0\r\nX: y\nZ: z\r\n\r\n");
    let answer = world.dialer.send_bytes(text.as_bytes(), false).await.unwrap();
    assert_eq!((answer.status, answer.header("connection")), (400, Some("close")));
}

#[tokio::test]
async fn neg_245_chunks_that_could_be_read_otherwise() {
    let world = world().await;
    for body in [
        "-1\r\nabc\r\n0\r\n\r\n".to_owned(),
        "0x3\r\nabc\r\n0\r\n\r\n".to_owned(),
        "FFFFFFFFFFFFFFFFF\r\nabc\r\n0\r\n\r\n".to_owned(),
        "3\r\nabcdef\r\n0\r\n\r\n".to_owned(),
        "3;a\nb\r\nabc\r\n0\r\n\r\n".to_owned(),
        format!("3;{}\r\nabc\r\n0\r\n\r\n", "a".repeat(20_000)),
    ] {
        let message = world.good().method("POST").header("Transfer-Encoding", "chunked").message();
        let bytes = [message.to_bytes(), body.clone().into_bytes()].concat();
        let before = world.refusals("api", Reason::MessageMalformed);
        let answer = world.dialer.send_bytes(&bytes, false).await.unwrap();
        assert_eq!((answer.status, world.refusals("api", Reason::MessageMalformed)), (400, before + 1), "{body:.40}");
        assert_eq!(answer.header("connection"), Some("close"), "{body:.40}");
    }
    world.passes(&world.good()).await;
}

#[tokio::test]
async fn neg_246_methods_that_a_gateway_does_not_serve() {
    let world = world().await;
    let answer = world.refuses_over(Http::One, Reason::MethodNotServed, &world.good().method("TRACE")).await;
    assert!(answer.header("allow").is_some());
    world.refuses_over(Http::Two, Reason::MethodNotServed, &world.good().method("TRACE")).await;
    let connect = world.good().method("CONNECT").with(|shot| shot.target = "rs.example:443".to_owned());
    world.refuses_over(Http::One, Reason::MethodNotServed, &connect).await;
}

#[tokio::test]
async fn neg_248_an_upgrade_that_is_not_ours_is_ignored() {
    let world = world().await;
    let shot = world.good().header("Connection", "Upgrade, HTTP2-Settings").header("Upgrade", "h2c");
    let shot = shot.header("HTTP2-Settings", "AAMAAABkAARAAAAAAAIAAAAA");
    world.passes_over(Http::One, &shot).await;
    let seen = world.upstream.last();
    assert_eq!((seen.header("upgrade"), seen.header("http2-settings"), seen.header("connection")), (None, None, None));
}

#[tokio::test]
async fn neg_249_headers_over_the_limit() {
    let world = world().await;
    let many = (0..120).fold(world.good(), |shot, n| shot.header(&format!("X-{n}"), "1"));
    let long = world.good().header("X-Long", "x".repeat(40_000));
    for (http, shot) in [(Http::One, &many), (Http::One, &long), (Http::Two, &many)] {
        let before = world.refusals("none", Reason::HeaderTooLarge);
        let answer = shot.send(http).await;
        assert_eq!((answer.status, world.upstream.count()), (431, 0), "{http:?}");
        world.refused("none", Reason::HeaderTooLarge, before + 1).await;
    }
    // Over HTTP/2 the client's own library may refuse to send what the server's settings forbid.
    if let Ok(answer) = world.dialer.send(Http::Two, &long.message()).await {
        assert_eq!(answer.status, 431);
    }
    assert_eq!(world.upstream.count(), 0);
    world.passes(&world.good()).await;
}

#[tokio::test]
async fn pos_07_and_08_and_11_to_15_equal_by_rfc_3986() {
    let world = world().await;
    for htu in [
        "https://rs.example/api/item?q=1#frag",
        "https://rs.example/api/item",
        "HTTPS://RS.EXAMPLE/api/item",
        "https://rs.example:443/api/item",
        "https://rs.example:/api/item",
        "https://rs.example/%61pi/item",
        "https://rs.example/./api/item",
        "https://rs.example/a/../api/item",
    ] {
        world.passes(&world.good().proof_claim("htu", htu)).await;
    }
    for (target, htu) in [
        ("/", "https://rs.example"),
        ("/", "https://rs.example/"),
        ("/?q", "https://rs.example"),
        ("/%7Eann", "https://rs.example/~ann"),
        ("/~ann", "https://rs.example/%7eann"),
        ("/a%3ab", "https://rs.example/a%3Ab"),
        ("/%61", "https://rs.example/a"),
    ] {
        world.passes(&world.good().target(target).proof_claim("htu", htu)).await;
    }
    // The other way round: only an absolute-form target can have no path.
    let bare = world.good().target("/").with(|shot| shot.target = "https://rs.example".to_owned());
    world.passes_over(Http::One, &bare).await;
    assert_eq!(world.upstream.last().target, "/");
}

#[tokio::test]
async fn neg_104_an_empty_port_is_the_default_port() {
    let world = world().await;
    world.passes(&world.good().proof_claim("htu", "https://rs.example:/api/item")).await;
}

#[tokio::test]
async fn pos_16_and_51_other_hosts() {
    let world = world().await;
    for (host, htu) in [
        ("RS.EXAMPLE:443", "https://rs.example/api/item"),
        ("[::1]:8443", "https://[::1]:8443/api/item"),
        ("rs.example:8443", "https://rs.example:8443/api/item"),
        ("xn--bcher-kva.example", "https://xn--bcher-kva.example/api/item"),
        ("[0:0:0:0:0:0:0:1]", "https://[::1]/api/item"),
    ] {
        let shot = world.good().with(|shot| shot.host = Some(host.to_owned())).proof_claim("htu", htu);
        world.passes_over(Http::One, &shot).await;
    }
}

#[tokio::test]
async fn pos_17_the_origin_is_the_one_that_was_used() {
    let world = world().await;
    for host in ["rs.example", "localhost", "api.rs.example"] {
        let htu = format!("https://{host}/api/item");
        let shot = world.good().with(|shot| shot.host = Some(host.to_owned())).proof_claim("htu", htu);
        world.passes_over(Http::One, &shot).await;
    }
    let crossed = world.good().with(|shot| shot.host = Some("localhost".to_owned()));
    world.refuses(Reason::ProofTarget, &crossed).await;
}

#[tokio::test]
async fn pos_50_an_absolute_target_overrides_the_host() {
    let world = world().await;
    let shot = world.good().with(|shot| {
        shot.target = "https://rs.example/api/item?q=1".to_owned();
        shot.host = Some("other.example".to_owned());
    });
    world.passes_over(Http::One, &shot).await;
    let seen = world.upstream.last();
    assert_eq!((seen.target.as_str(), seen.all("host")), ("/api/item?q=1", vec![HOST]));
}

#[tokio::test]
async fn a_public_url_is_what_proofs_are_for() {
    let plan = Plan { public_url: Some("https://api.example.com"), ..Plan::default() };
    let world = plan.start().await;
    let shot = world.good().proof_claim("htu", "https://api.example.com/api/item");
    assert_eq!(shot.send(Http::One).await.status, 200);
    assert_eq!(world.good().send(Http::One).await.status, 401);
    assert_eq!((world.refusals("api", Reason::ProofTarget), world.upstream.count()), (1, 1));
    let seen = world.upstream.last();
    assert_eq!(seen.header("x-forwarded-host"), Some("api.example.com"));
}
