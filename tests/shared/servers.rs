//! Real Redis processes: alone, with replicas and Sentinels, and as a cluster.

use std::io::Write as _;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use keybound::replay::{Address, RedisSettings, Topology};
use tempfile::TempDir;

use crate::eventually;

/// A port that nobody listens on. The system picks it; Redis itself cannot let it do so.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

pub fn address(port: u16) -> Address {
    Address { host: "127.0.0.1".to_owned(), port }
}

pub fn program(name: &str) -> PathBuf {
    let installed = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/interop/bin").join(name);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let candidates = std::env::split_paths(&path).map(|folder| folder.join(name));
    let found = std::iter::once(installed).chain(candidates).find(|candidate| candidate.exists());
    found.unwrap_or_else(|| panic!("{name} is missing: run `make test`, which installs it first"))
}

/// One process. It ends with this.
pub struct Redis {
    pub port: u16,
    /// Given anew at each start.
    arguments: Vec<String>,
    program: &'static str,
    child: Child,
    directory: TempDir,
}

impl Redis {
    pub async fn start() -> Self {
        Self::with(&[]).await
    }

    /// A server with more arguments, such as `["--maxmemory", "2mb"]`.
    pub async fn with(more: &[&str]) -> Self {
        let mut server = Self::spawn("redis-server", |port, _| {
            let fixed = ["--save", "", "--appendonly", "no", "--repl-diskless-sync-delay", "0", "--repl-timeout", "5"];
            let fixed = fixed.iter().chain(more).map(|argument| (*argument).to_owned());
            ["--port".to_owned(), port.to_string()].into_iter().chain(fixed).collect()
        });
        server.answers().await;
        server
    }

    /// A server that speaks TLS only, to holders of certificates of this authority, and knows this user alone.
    pub async fn guarded(certificate: &str, key: &str, authority: &str, acl: &[&str]) -> Self {
        let tls_port = free_port().to_string();
        let tls = ["--tls-port", &tls_port, "--tls-cert-file", certificate, "--tls-key-file", key];
        let more = ["--tls-ca-cert-file", authority, "--tls-auth-clients", "yes", "--user"];
        let everybody = ["--user", "default", "on", ">administrator", "~*", "&*", "+@all"];
        Self::with(&[&tls[..], &more, acl, &everybody].concat()).await
    }

    /// Where it speaks TLS.
    pub fn tls_port(&self) -> u16 {
        let at = self.arguments.iter().position(|argument| argument == "--tls-port").expect("a guarded server");
        self.arguments[at + 1].parse().unwrap()
    }

    /// Something that only the administrator may.
    pub async fn administer(&self, command: &[&str]) {
        let client = redis::Client::open(format!("redis://:administrator@127.0.0.1:{}", self.port)).unwrap();
        let mut connection = client.get_multiplexed_async_connection().await.unwrap();
        let mut question = redis::Cmd::new();
        question.arg(command);
        let _: redis::Value = question.query_async(&mut connection).await.unwrap();
    }

    fn spawn(name: &'static str, arguments: impl Fn(u16, &Path) -> Vec<String>) -> Self {
        let (port, directory) = (free_port(), tempfile::tempdir().unwrap());
        let arguments = arguments(port, directory.path());
        let child = run(name, &arguments, directory.path());
        Self { port, arguments, program: name, child, directory }
    }

    pub fn address(&self) -> Address {
        address(self.port)
    }

    /// As the gateways are told.
    pub fn settings(&self) -> RedisSettings {
        patient(RedisSettings::single(self.address()))
    }

    async fn answers(&mut self) {
        let port = self.port;
        eventually("the server answers", async || {
            self.must_run();
            // One that wants a password answers too.
            match ask::<String>(port, &["PING"]).await {
                Ok(_) => Some(()),
                Err(error) => error.code().map(|_| ()),
            }
        })
        .await;
    }

    /// It may have found its port taken, and who took it may answer.
    fn must_run(&mut self) {
        assert!(self.child.try_wait().unwrap().is_none(), "it ended: {}", self.log());
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    /// From here on its replicas hear nothing of it, and nobody connects anew.
    pub async fn cut_off(&self) {
        tell(self.port, &["CONFIG", "SET", "requirepass", "unknown"]).await;
        let client = redis::Client::open(format!("redis://:unknown@127.0.0.1:{}", self.port)).unwrap();
        let mut connection = client.get_multiplexed_async_connection().await.unwrap();
        let _: i64 = redis::cmd("CLIENT").arg(&["KILL", "TYPE", "replica"]).query_async(&mut connection).await.unwrap();
    }

    pub fn signal(&self, name: &str) {
        let status = Command::new("sh").args(["-c", &format!("kill -{name} {}", self.child.id())]).status().unwrap();
        assert!(status.success());
    }

    /// As if the machine lost its power.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts again, with nothing of what it knew.
    pub async fn restart(&mut self) {
        self.child = run(self.program, &self.arguments, self.directory.path());
        self.answers().await;
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn run(name: &str, arguments: &[String], directory: &Path) -> Child {
    let log = std::fs::OpenOptions::new().create(true).append(true).open(directory.join("log")).unwrap();
    Command::new(program(name))
        .args(arguments)
        .args(["--bind", "127.0.0.1", "--daemonize", "no", "--dir"])
        .arg(directory)
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap()
}

/// Tests share a machine: what takes long there is not what they are about.
pub fn patient(settings: RedisSettings) -> RedisSettings {
    RedisSettings { timeout: Duration::from_secs(2), ..settings }
}

/// Asks a server on this port.
pub async fn ask<T: redis::FromRedisValue>(port: u16, command: &[&str]) -> redis::RedisResult<T> {
    let client = redis::Client::open(format!("redis://127.0.0.1:{port}")).unwrap();
    let wait = Some(Duration::from_secs(5));
    let config = redis::AsyncConnectionConfig::new().set_connection_timeout(wait).set_response_timeout(wait);
    let mut connection = client.get_multiplexed_async_connection_with_config(&config).await?;
    let mut question = redis::Cmd::new();
    question.arg(command);
    question.query_async(&mut connection).await
}

pub async fn tell(port: u16, command: &[&str]) {
    let _: redis::Value = ask(port, command).await.unwrap_or_else(|error| panic!("{command:?}: {error}"));
}

pub async fn keys(port: u16) -> u64 {
    ask(port, &["DBSIZE"]).await.unwrap()
}

/// What a line of `INFO` says.
pub async fn info(port: u16, section: &str, name: &str) -> String {
    let text: String = ask(port, &["INFO", section]).await.unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.unwrap_or_else(|| panic!("no {name} in {text}")).trim().to_owned()
}

/// A master, a replica, and three Sentinels that agree on who is which.
pub struct Watched {
    pub servers: Vec<Redis>,
    pub sentinels: Vec<Redis>,
}

pub const MASTER: &str = "keybound";

impl Watched {
    pub async fn start() -> Self {
        let master = Redis::start().await;
        let replica = Redis::with(&["--replicaof", "127.0.0.1", &master.port.to_string()]).await;
        let port = master.port;
        eventually("the replica follows", async || {
            (info(replica.port, "replication", "master_link_status").await == "up").then_some(())
        })
        .await;
        let mut sentinels = Vec::new();
        for _ in 0..3 {
            sentinels.push(Redis::spawn("redis-sentinel", |own, directory| {
                let path = directory.join("sentinel.conf");
                let mut file = std::fs::File::create(&path).unwrap();
                writeln!(file, "port {own}\nsentinel monitor {MASTER} 127.0.0.1 {port} 2").unwrap();
                for (option, value) in
                    [("down-after-milliseconds", 700), ("failover-timeout", 3000), ("parallel-syncs", 1)]
                {
                    writeln!(file, "sentinel {option} {MASTER} {value}").unwrap();
                }
                vec![path.to_str().unwrap().to_owned()]
            }));
        }
        for sentinel in &mut sentinels {
            sentinel.answers().await;
            let port = sentinel.port;
            eventually("Sentinels know each other and the replica", async || {
                sentinel.must_run();
                let enough = ask::<String>(port, &["SENTINEL", "CKQUORUM", MASTER]).await.is_ok();
                let replicas: Vec<redis::Value> = ask(port, &["SENTINEL", "REPLICAS", MASTER]).await.ok()?;
                let others: Vec<redis::Value> = ask(port, &["SENTINEL", "SENTINELS", MASTER]).await.ok()?;
                (enough && replicas.len() == 1 && others.len() == 2).then_some(())
            })
            .await;
        }
        Self { servers: vec![master, replica], sentinels }
    }

    pub fn settings(&self) -> RedisSettings {
        patient(RedisSettings {
            servers: self.sentinels.iter().map(Redis::address).collect(),
            topology: Topology::Sentinel { master: MASTER.to_owned(), credentials: Default::default() },
            ..RedisSettings::single(self.servers[0].address())
        })
    }
}

/// Waits until the Sentinels have made this one the master.
pub async fn promotes(sentinels: &[Redis], port: u16) {
    for sentinel in sentinels {
        eventually("the Sentinels name another master", async || {
            let named: (String, u16) =
                ask(sentinel.port, &["SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER]).await.ok()?;
            (named.1 == port).then_some(())
        })
        .await;
    }
}

/// Three masters and a replica of each.
pub struct Cluster {
    pub nodes: Vec<Redis>,
}

impl Cluster {
    pub const MASTERS: usize = 3;

    pub async fn start() -> Self {
        let mut nodes = Vec::new();
        for _ in 0..2 * Self::MASTERS {
            let bus = free_port().to_string();
            let options = ["--cluster-enabled", "yes", "--cluster-node-timeout", "1000", "--cluster-port", &bus];
            nodes.push(Redis::with(&[&options[..], &["--cluster-config-file", "nodes.conf"]].concat()).await);
        }
        let cluster = Self { nodes };
        let mut ids = Vec::new();
        for (index, node) in cluster.nodes.iter().enumerate() {
            ids.push(ask::<String>(node.port, &["CLUSTER", "MYID"]).await.unwrap());
            if index < Self::MASTERS {
                let [first, end] = [index, index + 1].map(|part| part * 16384 / Self::MASTERS);
                let range = [first.to_string(), (end - 1).to_string()];
                tell(node.port, &["CLUSTER", "ADDSLOTSRANGE", &range[0], &range[1]]).await;
                // Otherwise all begin with the same epoch, and argue.
                tell(node.port, &["CLUSTER", "SET-CONFIG-EPOCH", &(index + 1).to_string()]).await;
            }
        }
        let first = &cluster.nodes[0];
        for node in &cluster.nodes[1..] {
            let bus = bus_port(node).await;
            tell(first.port, &["CLUSTER", "MEET", "127.0.0.1", &node.port.to_string(), &bus]).await;
        }
        for index in Self::MASTERS..2 * Self::MASTERS {
            let (node, master) = (cluster.nodes[index].port, &ids[index - Self::MASTERS]);
            eventually("a replica finds its master", async || {
                ask::<String>(node, &["CLUSTER", "REPLICATE", master]).await.ok()
            })
            .await;
        }
        for index in 0..2 * Self::MASTERS {
            cluster.agrees(index).await;
        }
        for node in &cluster.nodes[Self::MASTERS..] {
            eventually("the replicas follow", async || {
                (info(node.port, "replication", "master_link_status").await == "up").then_some(())
            })
            .await;
        }
        cluster
    }

    /// Waits until a node sees the whole cluster, all of it well.
    pub async fn agrees(&self, node: usize) {
        let port = self.nodes[node].port;
        eventually("the cluster is whole", async || {
            let state: String = ask(port, &["CLUSTER", "INFO"]).await.ok()?;
            let known: String = ask(port, &["CLUSTER", "NODES"]).await.ok()?;
            (state.contains("cluster_state:ok") && known.lines().count() == self.nodes.len()).then_some(())
        })
        .await;
    }

    pub fn settings(&self) -> RedisSettings {
        patient(RedisSettings {
            servers: self.nodes[..2].iter().map(Redis::address).collect(),
            topology: Topology::Cluster,
            ..RedisSettings::single(self.nodes[0].address())
        })
    }
}

/// Waits until a replica has taken over.
pub async fn becomes_master(port: u16) {
    eventually("the replica takes over", async || (info(port, "replication", "role").await == "master").then_some(()))
        .await;
}

async fn bus_port(node: &Redis) -> String {
    let configured: (String, String) = ask(node.port, &["CONFIG", "GET", "cluster-port"]).await.unwrap();
    configured.1
}
