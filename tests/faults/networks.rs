//! A gateway in a network of its own, whose cables are pulled: to its clients, its upstream, its replay store.

use std::net::Ipv4Addr;
use std::process::Command;
use std::sync::Arc;

use crate::api::Api;
use crate::crowd::Crowd;
use crate::neighbours::upstream_at;
use crate::servers::{Redis, tell};
use crate::stage::Stage;
use crate::support::jwks_of;

/// A network namespace with three cables to this one. It ends with this.
struct Network {
    name: String,
}

#[derive(Clone, Copy)]
enum Cable {
    Clients,
    Upstream,
    Store,
}

impl Network {
    fn new() -> Self {
        let network = Self { name: format!("kb{}", std::process::id()) };
        let name = network.name.as_str();
        ip(&["netns", "add", name]);
        // While a cable is pulled its route is gone, and the machine's default route would lead to strangers.
        ip(&["route", "add", "unreachable", &Self::all()]);
        for cable in [Cable::Clients, Cable::Upstream, Cable::Store] {
            let [here, there] = [network.end(cable, 'a'), network.end(cable, 'b')];
            ip(&["link", "add", &here, "type", "veth", "peer", "name", &there, "netns", name]);
            ip(&["address", "add", &format!("{}/30", network.here(cable)), "dev", &here]);
            ip(&["link", "set", &here, "up"]);
            ip(&["-n", name, "address", "add", &format!("{}/30", network.there(cable)), "dev", &there]);
            ip(&["-n", name, "link", "set", &there, "up"]);
        }
        network
    }

    fn end(&self, cable: Cable, side: char) -> String {
        format!("{}{side}{}", self.name, cable as u8)
    }

    /// Addresses for tests of networks (RFC 2544), of this process's own.
    fn first() -> u32 {
        u32::from(Ipv4Addr::new(198, 18, 0, 0)) + std::process::id() % 2048 * 16
    }

    /// All of them.
    fn all() -> String {
        format!("{}/28", Ipv4Addr::from(Self::first()))
    }

    fn address(&self, cable: Cable, side: u32) -> Ipv4Addr {
        Ipv4Addr::from(Self::first() + cable as u32 * 4 + side)
    }

    fn here(&self, cable: Cable) -> Ipv4Addr {
        self.address(cable, 1)
    }

    fn there(&self, cable: Cable) -> Ipv4Addr {
        self.address(cable, 2)
    }

    fn pull(&self, cable: Cable) {
        ip(&["link", "set", &self.end(cable, 'a'), "down"]);
    }

    fn plug(&self, cable: Cable) {
        ip(&["link", "set", &self.end(cable, 'a'), "up"]);
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        // The cables go with one of their ends.
        let _ = Command::new("ip").args(["netns", "delete", &self.name]).status();
        let _ = Command::new("ip").args(["route", "delete", "unreachable", &Self::all()]).status();
    }
}

fn ip(arguments: &[&str]) {
    let made = Command::new("ip").args(arguments).output().expect("iproute2 is there");
    let why = String::from_utf8_lossy(&made.stderr);
    assert!(made.status.success(), "ip {arguments:?}: {why}. This test needs root, for a network namespace of its own");
}

#[tokio::test]
async fn cables_that_are_pulled_and_plugged_in_again() {
    let network = Network::new();
    let mut stage = Stage::set().await;
    stage.api = Api::start_at(&format!("{}:0", network.here(Cable::Upstream))).await;
    let stage = Arc::new(stage);
    std::fs::write(stage.file("jwks.json"), jwks_of(&[("k1", &stage.issuer_key)]).to_string()).unwrap();
    let store = Redis::start().await;
    let at = network.here(Cable::Store).to_string();
    tell(store.port, &["CONFIG", "SET", "protected-mode", "no"]).await;
    tell(store.port, &["CONFIG", "SET", "bind", &format!("127.0.0.1 {at}")]).await;
    let mut command = Command::new("ip");
    command.args(["netns", "exec", &network.name, env!("CARGO_BIN_EXE_keybound")]);
    let gateway = stage.gateway_by(&mut command, |configuration| {
        configuration.replay =
            format!("replay: {{ store: redis, redis: {{ urls: ['redis://{at}:{}'], timeout: 500ms }} }}", store.port);
        configuration.keys = "{ jwks_file: jwks.json }".to_owned();
        configuration.listener = format!("{}:0", network.there(Cable::Clients));
        configuration.admin = format!("{}:0", network.there(Cable::Clients));
        upstream_at(stage.api.address)(configuration);
    });
    let gateway = gateway.await;
    gateway.program.says("ready").await;
    let crowd = Crowd::gathers(&stage, gateway.address);
    crowd.passes().await;

    network.pull(Cable::Upstream);
    crowd.each_gets("no answer from upstream", 2, |status| matches!(status, Some(502 | 504))).await;
    network.plug(Cable::Upstream);
    crowd.passes().await;

    network.pull(Cable::Store);
    crowd.is_told(503).await;
    network.plug(Cable::Store);
    crowd.passes().await;

    network.pull(Cable::Clients);
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    network.plug(Cable::Clients);
    crowd.passes().await;

    crowd.is_robbed_in_vain().await;
    crowd.goes(&stage.api, &[200, 401, 502, 503, 504]).await;
    drop(gateway);
}
