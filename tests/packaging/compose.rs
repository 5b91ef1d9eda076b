//! The example of `deploy/compose`: read by Compose, and played without containers.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::eventually;
use crate::process::{Ended, Program};
use crate::servers::Redis;
use crate::tools::{list, program, ran, repository, said, text};

/// Compose's own reading, with every short form written out.
fn services() -> Value {
    let words = said("docker-compose", &["--file", "deploy/compose/compose.yaml", "config", "--format", "json"]);
    serde_json::from_str::<Value>(&words).unwrap()["services"].clone()
}

#[test]
fn compose_understands_it_and_every_mounted_file_is_there() {
    let services = services();
    for (name, service) in services.as_object().unwrap() {
        for mount in list(service, "volumes").filter(|mount| mount["type"] == "bind") {
            assert!(Path::new(mount["source"].as_str().unwrap()).exists(), "{name}: {mount}");
            assert_eq!(mount["read_only"], true, "{name}: {mount}");
        }
        for port in list(service, "ports") {
            assert_eq!(port["host_ip"], "127.0.0.1", "{name} is for this machine alone");
        }
        // What ends by itself may do more.
        if name != "certificates" {
            assert_eq!(service["read_only"], true, "{name}");
            assert_eq!(service["cap_drop"], serde_json::json!(["ALL"]), "{name}");
            assert_eq!(service["security_opt"], serde_json::json!(["no-new-privileges:true"]), "{name}");
        }
        if let Some(image) = service["image"].as_str().filter(|_| service.get("build").is_none()) {
            assert!(image.contains(':'), "{name} has no version");
        }
    }
    let health = &services["keybound"]["healthcheck"]["test"];
    let arguments: Vec<&str> = health.as_array().unwrap().iter().filter_map(Value::as_str).collect();
    let (success, words) = ran(Command::new(crate::tools::KEYBOUND).args(&arguments[2..]).arg("--help"));
    assert!(success && arguments[..2] == ["CMD", "/usr/local/bin/keybound"], "{arguments:?}: {words}");
    assert!(text("deploy/prometheus/prometheus.yaml").contains("[\"keybound:9090\"]"), "the service's name");
    let grafana = list(&services["grafana"], "volumes").any(|mount| mount["target"] == "/dashboards");
    assert!(grafana && text("deploy/compose/grafana.yaml").contains("path: /dashboards"));
}

#[test]
fn its_servers_are_the_ones_that_are_tested() {
    assert_eq!(said("hadolint", &["--no-color", "deploy/compose/servers.Dockerfile"]), "");
    let tested: Value = serde_json::from_str(&text("tests/interop/package.json")).unwrap();
    let version = tested["dependencies"]["oidc-provider"].as_str().unwrap();
    assert!(text("deploy/compose/servers.Dockerfile").contains(&format!(" oidc-provider@{version}\n")));
}

/// A script of the example. It ends with this.
struct Server(Child);

impl Server {
    fn start(folder: &Path, script: &str, environment: &[(&str, &str)]) -> Self {
        // Modules are found from where a script lies.
        fs::copy(repository("deploy/compose").join(script), folder.join(script)).unwrap();
        let mut command = Command::new(program("node"));
        command.arg(script).current_dir(folder).envs(environment.iter().copied());
        let log = fs::File::create(folder.join(format!("{script}.log"))).unwrap();
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        Self(command.spawn().unwrap())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// With what `docs/deploy.md` tells a reader to type, but for the ports.
#[tokio::test]
async fn whoever_has_token_and_key_is_greeted() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let make = || ran(Command::new("sh").arg(repository("deploy/compose/certificates")).arg(here));
    let (made, words) = make();
    assert!(made, "{words}");
    let first = fs::read(here.join("ca.crt")).unwrap();
    assert!(make().0 && fs::read(here.join("ca.crt")).unwrap() == first, "what is there is kept");
    assert!(!here.join("ca.key").exists(), "nobody can make more of them");

    symlink(repository("tests/interop/node_modules"), here.join("node_modules")).unwrap();
    let (issuer_port, api_port) = (free_port(), free_port());
    let issuer = format!("https://localhost:{issuer_port}");
    let certificates = here.to_str().unwrap();
    let environment = [("ISSUER", &*issuer), ("LISTEN", "127.0.0.1"), ("CERTIFICATES", certificates)];
    let _issuer = Server::start(here, "authorization-server.mjs", &environment);
    let _api = Server::start(here, "api.mjs", &[("LISTEN", "127.0.0.1"), ("PORT", &api_port.to_string())]);
    let redis = Redis::start().await;

    let mut configuration = text("deploy/compose/keybound.yaml");
    for (from, to) in [
        ("https://localhost:4000", &*issuer),
        ("https://authorization-server:4000", &issuer),
        ("http://api:8080", &format!("http://127.0.0.1:{api_port}")),
        ("redis://redis:6379", &format!("redis://127.0.0.1:{}", redis.port)),
        ("0.0.0.0:8443", "127.0.0.1:0"),
        ("0.0.0.0:9090", "127.0.0.1:0"),
        ("/etc/keybound/certificates", certificates),
    ] {
        assert!(configuration.contains(from), "{from}");
        configuration = configuration.replace(from, to);
    }
    fs::write(here.join("keybound.yaml"), configuration).unwrap();
    let gateway = Program::start(here, &["serve", "--config", "keybound.yaml"], &[]);
    let address = gateway.says("listening").await["address"].as_str().unwrap().to_owned();
    let admin = gateway.says("admin listening").await["address"].as_str().unwrap().to_owned();
    eventually("the gateway is ready", async || {
        let health = ["health", "--ready", "--admin", &format!("http://{admin}")];
        (Program::run(here, &health).await.code == 0).then_some(())
    })
    .await;

    let key = Program::run(here, &["key", "--output", "client.pem"]).await;
    assert_eq!(key.code, 0, "{}", key.err);
    let token_url = format!("{issuer}/token");
    let asked = [
        "request",
        &token_url,
        "--cacert",
        "ca.crt",
        "--key",
        "client.pem",
        "-H",
        "Authorization: Basic ZXhhbXBsZTpleGFtcGxl",
        "-d",
        "grant_type=client_credentials&scope=read",
    ];
    let Ended { code, out, err } = Program::run(here, &asked).await;
    assert_eq!(code, 0, "{out}{err}");
    let token: Value = serde_json::from_str(&out).unwrap();
    let token = [("KEYBOUND_TOKEN", token["access_token"].as_str().unwrap())];
    let port = address.rsplit_once(':').unwrap().1;
    let hello = format!("https://localhost:{port}/hello");
    let call = ["request", &hello, "--cacert", "ca.crt"];
    let with_key = [&call[..], &["--key", "client.pem"]].concat();
    let Ended { code, out, err } = Program::run_with(here, &with_key, &token).await;
    assert_eq!((code, &*out), (0, "{\"hello\":\"example\",\"path\":\"/hello\"}"), "{err}");
    let Ended { code, out, .. } = Program::run_with(here, &call, &token).await;
    assert!(code == 1 && out.contains("invalid_token"), "{out}");
}
