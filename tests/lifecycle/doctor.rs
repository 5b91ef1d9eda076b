//! `keybound doctor`: nothing to fix where all is well, and one line where one thing is not.

mod deployment;

use http::StatusCode;
use rcgen::ExtendedKeyUsagePurpose;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::process::Ended;
use crate::replay_store::RIGHTS;
use crate::servers::{Cluster, MASTER, Redis, Watched};
use crate::support::jwks_of;
use crate::support::keys::Key;
use deployment::{Deployment, LONG, Says, TlsServer, level};

/// Asserts that this is the only line that fails, and returns what else was told.
async fn only_fails(deployment: &Deployment, line: &str) -> String {
    let Ended { code, out, err } = deployment.doctor(&[]).await;
    let failed = level(&out, "FAIL");
    assert!(code == 1 && err.is_empty() && failed.len() == 1 && failed[0].contains(line), "{line}\n{out}{err}");
    out
}

#[tokio::test]
async fn a_deployment_that_is_well_has_nothing_to_fix() {
    let deployment = Deployment::start().await;
    let (port, redis) = (deployment.server.port, deployment.redis.port);
    let Ended { code, out, err } = deployment.doctor(&[]).await;
    assert_eq!((code, &*err), (0, ""), "{out}");
    assert_eq!(level(&out, "warn").len() + level(&out, "FAIL").len() + level(&out, "skip").len(), 0, "{out}");
    let date = out.split("until ").nth(1).unwrap().split('\n').next().unwrap();
    let server = format!("localhost:{port}");
    let resolved = out.lines().find(|line| line.contains("localhost (issuer)")).unwrap();
    assert!(resolved.starts_with("  ok    localhost (issuer): IPv4 127.0.0.1, IPv6 "), "{out}");
    let version = out.split("a master of version ").nth(1).unwrap().split('\n').next().unwrap();
    let expected = format!(
        "\
configuration
  ok    keybound.yaml: valid
listeners
  ok    listener 127.0.0.1:0, certificate for api.example.com: chain of 2, with its key, valid for {LONG} days, until {date}
  ok    listener 127.0.0.1:0, public_url https://api.example.com: covered by a certificate
  ok    listener 127.0.0.1:0, clients: 1 authority can be read
  ok    listener 127.0.0.1:0, revocation list 1: good until 2100-01-01T00:00:00.000Z
names
{resolved}
issuers
  ok    {server}, certificate: valid for {LONG} days, until {date}
  ok    https://{server}, metadata: names itself, and its keys at https://{server}/jwks
  ok    https://{server}, clock: as this host's
  ok    https://{server}, keys: 1 usable at https://{server}/jwks
introspection
  ok    {server}, certificate: valid for {LONG} days, until {date}
  ok    https://{server}/introspect as gateway: answers, and knows no token that nobody issued
redis
  ok    127.0.0.1:{redis}: answers, a master of version {version}
  ok    127.0.0.1:{redis}, memory: maxmemory-policy noeviction
  ok    127.0.0.1:{redis}, clock: as this host's
  ok    127.0.0.1:{redis}, keys: taken
upstreams
  ok    https://{server}: can be reached, certificate valid for {LONG} days, until {date}
  ok    https://{server}/healthz: well

18 ok
"
    );
    assert_eq!(out.trim_end(), expected.trim_end());

    let Ended { code, out, .. } = deployment.doctor(&["--format", "json"]).await;
    let told: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(code, 0);
    assert_eq!((&told["result"], &told["ok"], &told["fail"]), (&json!("ok"), &json!(18), &json!(0)), "{out}");
    assert_eq!(
        told["findings"][0],
        json!({
            "subject": "configuration", "level": "ok", "what": "keybound.yaml", "found": "valid"
        })
    );
}

#[tokio::test]
async fn certificates_of_listeners_are_looked_at() {
    let deployment = Deployment::start().await;
    let authority = &deployment.authority;
    let well = deployment.doctor(&[]).await.out;
    let of = |out: &str, subject: &str| {
        let part = out.split(&format!("\n{subject}\n")).nth(1).unwrap_or_default();
        part.lines().take_while(|line| line.starts_with("  ")).map(str::to_owned).collect::<Vec<_>>()
    };
    let rest_is_well = |out: &str| {
        for subject in ["names", "issuers", "introspection", "redis", "upstreams"] {
            assert_eq!(of(out, subject), of(&well, subject));
        }
    };

    // The key of another certificate: the configuration cannot be used, and the rest is looked at all the same.
    deployment.write("tls.key", &authority.issue(&["api.example.com"], LONG).1);
    let out = only_fails(&deployment, "expected the private key of the first certificate, found another key").await;
    assert_eq!(level(&out, "skip"), ["all: not looked at: its configuration has errors"]);
    rest_is_well(&out);

    let certificate = |names: &[&str], days: i64, more: &str| {
        let (certificate, key) = authority.issue(names, days);
        deployment.write("tls.crt", &format!("{certificate}{more}"));
        deployment.write("tls.key", &key);
    };
    certificate(&["api.example.com"], -2, "");
    let out =
        only_fails(&deployment, "certificate for api.example.com: expected a certificate that is valid now").await;
    assert!(level(&out, "FAIL")[0].contains("found one that expired on 2") && out.contains("; renew it\n"), "{out}");
    rest_is_well(&out);

    certificate(&["api.example.com"], 13, "");
    let Ended { code, out, .. } = deployment.doctor(&[]).await;
    let warned = level(&out, "warn");
    assert!(code == 0 && warned.len() == 1 && warned[0].contains("valid for 13 days"), "{out}");

    certificate(&["*.example.org", "www.example.com"], LONG, "");
    let out =
        only_fails(&deployment, "public_url https://api.example.com: expected a certificate for api.example.com").await;
    assert!(out.contains("found names *.example.org, www.example.com; have the name put into"), "{out}");
    rest_is_well(&out);

    let (for_clients, key) = authority.issue_for(&["api.example.com"], LONG, &[ExtendedKeyUsagePurpose::ClientAuth]);
    deployment.write("tls.crt", &for_clients);
    deployment.write("tls.key", &key);
    only_fails(&deployment, "expected a certificate for a server, found one without serverAuth").await;

    let another = authority.issue(&["b.example.com"], LONG).0;
    certificate(&["api.example.com"], LONG, &another);
    only_fails(&deployment, "expected a chain in order, found certificate 1 is not issued by certificate 2").await;

    deployment.repair();
    deployment.write("clients.crl", &authority.revocation_list(2021));
    let out =
        only_fails(&deployment, "revocation list 1: expected one that is still good, found nextUpdate 2021-").await;
    rest_is_well(&out);
}

#[tokio::test]
async fn issuers_are_asked_who_they_are() {
    let deployment = Deployment::start().await;
    let server = format!("https://localhost:{}", deployment.server.port);
    let well = deployment.server.says.lock().unwrap().clone();
    let now_says = |change: &dyn Fn(&mut Says)| {
        let mut says = well.clone();
        change(&mut says);
        *deployment.server.says.lock().unwrap() = says;
    };

    now_says(&|says| says.issuer = "https://other.example".to_owned());
    let expected = format!(
        "{server}, metadata: expected \"issuer\": \"{server}\" (RFC 8414 section 3.3), found \"issuer\": \"https://other.example\"; write"
    );
    only_fails(&deployment, &expected).await;

    let [unfit, symmetric] =
        [jwks_of(&[("k1", &Key::new("ES384"))]), json!({"keys": [{"kty": "oct", "k": "aGlkZGVu"}]})];
    now_says(&|says| says.keys = symmetric.clone());
    let out = only_fails(&deployment, &format!("{server}, keys: expected at least one key for ES256, ES384")).await;
    assert!(out.contains("no usable key: keys[0]") && !out.contains("aGlkZGVu"), "{out}");
    deployment
        .configure(&[("    ca_file: ca.pem\n    intro", "    ca_file: ca.pem\n    algorithms: [ES256]\n    intro")]);
    now_says(&|says| says.keys = unfit.clone());
    only_fails(&deployment, &format!("{server}, keys: expected at least one key for ES256, found {server}/jwks")).await;
    deployment.configure(&[]);

    now_says(&|says| says.ahead = 3600);
    let out =
        only_fails(&deployment, &format!("{server}, clock: expected at most 10s apart (clock_skew), found 3")).await;
    assert!(out.contains("s ahead of this host's; set both by a time service"), "{out}");
    now_says(&|says| says.ahead = -8);
    let Ended { code, out, .. } = deployment.doctor(&[]).await;
    assert!(code == 0 && level(&out, "warn")[0].contains("s behind this host's"), "{out}");

    now_says(&|says| says.introspection = StatusCode::UNAUTHORIZED);
    let out = only_fails(&deployment, &format!("{server}/introspect as gateway: expected an answer (RFC 7662)")).await;
    assert!(out.contains("found 401; compare client_id and its secret"), "{out}");
    now_says(&|says| says.active = true);
    only_fails(&deployment, "expected \"active\": false for a token that nobody issued, found true").await;

    now_says(&|says| says.health = StatusCode::SERVICE_UNAVAILABLE);
    only_fails(&deployment, &format!("{server}/healthz: expected a status of 2xx, found status 503")).await;

    // Nobody vouches for it.
    now_says(&|_| {});
    let other = TlsServer::start(&deployment::Authority::new("another authority").issue(&["localhost"], LONG)).await;
    let port = deployment.server.port.to_string();
    let keys =
        format!("issuer: https://localhost:{port}\n    keys: {{ jwks_uri: 'https://localhost:{}/jwks' }}", other.port);
    deployment.configure(&[(&format!("issuer: https://localhost:{port}\n"), &format!("{keys}\n"))]);
    let line = format!(
        "localhost:{}: expected a TLS connection, found invalid peer certificate: UnknownIssuer; name its",
        other.port
    );
    only_fails(&deployment, &line).await;
    let expired = TlsServer::start(&deployment.authority.issue(&["localhost"], -1)).await;
    deployment.configure(&[(
        &format!("endpoints: ['https://localhost:{port}']"),
        &format!("endpoints: ['https://localhost:{}']", expired.port),
    )]);
    only_fails(
        &deployment,
        &format!(
            "https://localhost:{}: expected a connection, found invalid peer certificate: certificate expired",
            expired.port
        ),
    )
    .await;
}

#[tokio::test]
async fn redis_is_asked_what_it_keeps() {
    let deployment = Deployment::start().await;
    deployment.write("redis.password", "another-password-5c2e");
    let at = format!("127.0.0.1:{}", deployment.redis.port);
    let out = only_fails(&deployment, &format!("{at}: expected an answer to INFO and TIME, found")).await;
    assert!(out.contains("; compare `username` and `password_file` with the server's ACL\n"), "{out}");
    assert!(!out.contains("another-password"), "{out}");
    deployment.repair();

    let evicting = Redis::with(&["--maxmemory", "64mb", "--maxmemory-policy", "allkeys-lru"]).await;
    let (urls, port) = (format!("'redis://{at}'], password_file: redis.password"), evicting.port);
    deployment.configure(&[(&urls, &format!("'redis://127.0.0.1:{port}']"))]);
    let line = "memory: expected maxmemory-policy noeviction, found maxmemory-policy allkeys-lru with a maxmemory of 67108864 bytes; set";
    only_fails(&deployment, &format!("127.0.0.1:{port}, {line}")).await;
    crate::servers::tell(port, &["CONFIG", "SET", "maxmemory", "0"]).await;
    let Ended { code, out, .. } = deployment.doctor(&[]).await;
    assert!(code == 0 && level(&out, "warn")[0].contains("maxmemory-policy allkeys-lru, and no maxmemory"), "{out}");

    // Where TLS was not understood, no password goes out in the clear.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let secure =
        format!("'rediss://{}'], ca_file: none.pem, password_file: redis.password", listener.local_addr().unwrap());
    deployment.configure(&[(&urls, &secure)]);
    let out = only_fails(&deployment, "replay.redis.ca_file: none.pem: cannot be read").await;
    assert_eq!(level(&out, "skip"), ["all: not looked at: its configuration has errors"], "{out}");
    assert_eq!(listener.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock);

    // A user that may do what a gateway needs, and then less.
    crate::servers::tell(port, &["CONFIG", "SET", "maxmemory-policy", "noeviction"]).await;
    let user = format!("'redis://127.0.0.1:{port}'], username: keybound, password_file: redis.password");
    deployment.configure(&[(&urls, &user)]);
    let password = format!(">{}", deployment::REDIS_PASSWORD);
    let least = [&["ACL", "SETUSER", "keybound", "on", &password][..], &RIGHTS].concat();
    crate::servers::tell(port, &least).await;
    let Ended { code, out, .. } = deployment.doctor(&[]).await;
    assert!(code == 0 && level(&out, "warn").is_empty(), "{out}");
    crate::servers::tell(port, &["ACL", "SETUSER", "keybound", "-set"]).await;
    let out = only_fails(&deployment, &format!("127.0.0.1:{port}, keys: expected OK to SET … NX PXAT, found")).await;
    assert!(out.contains("; give the user +set, and ~ with the `key_prefix`\n"), "{out}");
    crate::servers::tell(port, &["ACL", "SETUSER", "keybound", "+set", "+replicaof"]).await;
    crate::servers::tell(port, &["REPLICAOF", "127.0.0.1", "1"]).await;
    only_fails(&deployment, &format!("127.0.0.1:{port}, role: expected master, found slave; name the master")).await;
}

#[tokio::test]
async fn sentinels_and_clusters_are_asked_for_their_masters() {
    let deployment = Deployment::start().await;
    let one = format!("urls: ['redis://127.0.0.1:{}'], password_file: redis.password", deployment.redis.port);
    let urls = |servers: &[Redis]| {
        let urls: Vec<String> = servers.iter().map(|server| format!("'redis://127.0.0.1:{}'", server.port)).collect();
        format!("urls: [{}]", urls.join(", "))
    };
    let watched = Watched::start().await;
    let sentinels = urls(&watched.sentinels);
    deployment.configure(&[(&one, &format!("{sentinels}, sentinel: {{ master: {MASTER} }}"))]);
    let Ended { code, out, .. } = deployment.doctor(&[]).await;
    assert_eq!((code, level(&out, "ok").len()), (0, 18), "{out}");
    assert!(
        out.contains(&format!("ok    127.0.0.1:{}: answers, a master of version", watched.servers[0].port)),
        "{out}"
    );
    deployment.configure(&[(&one, &format!("{sentinels}, sentinel: {{ master: another }}"))]);
    let line = "Sentinels of another: expected more than half that agree, found 0 of 3 Sentinels that know a master";
    only_fails(&deployment, line).await;
    drop(watched);

    let cluster = Cluster::start().await;
    deployment.configure(&[(&one, &format!("{}, cluster: true", urls(&cluster.nodes[..2])))]);
    let Ended { code, out, .. } = deployment.doctor(&[]).await;
    assert!(code == 0 && out.contains("ok    cluster: all 16384 slots have a master\n"), "{out}");
    assert_eq!(out.matches("answers, a master of version").count(), Cluster::MASTERS, "{out}");
    for node in &cluster.nodes {
        crate::servers::tell(node.port, &["CLUSTER", "DELSLOTS", "0"]).await;
    }
    let Ended { code, out, .. } = deployment.doctor(&[]).await;
    let line =
        "FAIL  cluster: expected 16384 slots, found 16383 with a master; see `CLUSTER INFO` and `CLUSTER NODES`\n";
    assert!(code == 1 && out.contains(line), "{out}");
}

#[tokio::test]
async fn who_is_away_is_named() {
    let deployment = Deployment::start().await;
    // It is bound, so that nobody else gets it, and nobody listens.
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let orders = format!("endpoints: ['https://localhost:{}']", deployment.server.port);
    let closed = format!("endpoints: ['https://{taken}']");
    deployment.configure(&[(&orders, &closed)]);
    let out =
        only_fails(&deployment, &format!("https://{taken}: expected a connection, found Connection refused")).await;
    assert!(out.contains("; start it, or correct address, port and firewall\n"), "{out}");

    deployment.configure(&[(&orders, "endpoints: ['https://orders.invalid']")]);
    let out = only_fails(&deployment, "orders.invalid (upstream): expected an address, found ").await;
    assert_eq!(level(&out, "skip"), ["https://orders.invalid: not asked: its name has no address"]);
    assert_eq!(level(&out, "ok").len(), 16, "{out}");

    deployment.configure(&[("127.0.0.1:0", "127.0.0.1:x"), (&orders, "endpoint: []")]);
    let Ended { code, out, err } = deployment.doctor(&[]).await;
    assert!(code == 1 && err.is_empty() && level(&out, "FAIL").len() == 3, "{out}{err}");
    let line = "keybound.yaml:3:14: listeners[0].address: expected an IP address and a port, such as `0.0.0.0:8443`, found `127.0.0.1:x`; ";
    assert!(level(&out, "FAIL")[0].starts_with(line), "{out}");
    assert_eq!(level(&out, "skip").len(), 2, "{out}");

    // What nobody answers is waited for no longer than one says.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = silent.local_addr().unwrap();
    deployment.configure(&[(&orders, &format!("endpoints: ['https://{address}']"))]);
    let Ended { code, out, .. } = deployment.doctor(&["--timeout", "300ms"]).await;
    assert!(code == 1 && out.contains("found none within 300ms; start it"), "{out}");
}

#[tokio::test]
async fn a_configuration_that_says_nothing_fails_and_wrong_usage_is_told_apart() {
    let deployment = Deployment::start().await;
    for (text, line) in [("", "this configuration is empty"), ("listeners: [", "not valid YAML")] {
        deployment.write("keybound.yaml", text);
        let Ended { code, out, err } = deployment.doctor(&[]).await;
        assert!(code == 1 && err.is_empty() && level(&out, "FAIL")[0].contains(line), "{out}");
    }
    for (arguments, line) in [
        (&["--through", "api.example.com"][..], "--through: the URL must be absolute"),
        (&["--format", "yaml"], "possible values"),
        (&["--timeout", "soon"], "expected a duration such as"),
        (&["--cacert", "ca.pem"], "--through"),
    ] {
        let Ended { code, out, err } = deployment.doctor(arguments).await;
        assert!(code == 2 && out.is_empty() && err.contains(line), "{err}");
    }
}
