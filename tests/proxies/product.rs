//! A product as a process: its configuration from `deploy/`, with this test's ports and files in the place of real ones.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::eventually;
use crate::stage::Stage;
use crate::support::HOST;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Nginx,
    Haproxy,
    Apache,
    Caddy,
    Envoy,
}

/// It ends with this.
pub struct Product {
    pub address: SocketAddr,
    child: Child,
    folder: TempDir,
}

/// Where `tests/install` unpacks Debian's packages.
fn unpacked(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("target/interop/debian").join(name)
}

fn deployed(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(file);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A text of `deploy/` with each of these put in the place of what an operator would put there.
pub fn adapted(file: &str, changes: &[(&str, &str)]) -> String {
    let mut text = deployed(file);
    for (from, to) in changes {
        assert!(text.contains(from), "deploy/{file} has no {from}");
        text = text.replace(from, to);
    }
    text
}

/// A port that nobody listens on. The system picks it; these products cannot let it do so.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

impl Product {
    /// Starts `kind` with `deploy/{file}`, in front of `gateway`.
    pub async fn start(kind: Kind, file: &str, stage: &Stage, gateway: SocketAddr) -> Self {
        Self::start_with(kind, file, stage, gateway, None, free_port(), &[]).await
    }

    /// The same at a port of its own, perhaps in front of `api`, and with more changes to the file.
    pub async fn start_with(
        kind: Kind,
        file: &str,
        stage: &Stage,
        gateway: SocketAddr,
        api: Option<SocketAddr>,
        port: u16,
        more: &[(&str, &str)],
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let here = folder.path().to_str().unwrap().to_owned();
        let [chain, key] = ["server.pem", "server.key"].map(|name| fs::read_to_string(stage.file(name)).unwrap());
        for (name, content) in
            [("tls.crt", &chain), ("tls.key", &key), ("ca.pem", &chain), ("tls.pem", &(chain.clone() + &key))]
        {
            fs::write(folder.path().join(name), content).unwrap();
        }
        let mut changes = Vec::new();
        let mut change = |from: &str, to: String| changes.push((from.to_owned(), to));
        let at = format!("127.0.0.1:{port}");
        let gateway_port = if api.is_some() { "9180" } else { "8081" };
        if kind == Kind::Envoy {
            change("0.0.0.0", "127.0.0.1".to_owned());
            change("port_value: 8443", format!("port_value: {port}"));
            change(&format!("port_value: {gateway_port}"), format!("port_value: {}", gateway.port()));
            if let Some(api) = api {
                change("port_value: 8080", format!("port_value: {}", api.port()));
            }
        } else {
            change(&format!("127.0.0.1:{gateway_port}"), gateway.to_string());
            if let Some(api) = api {
                change("127.0.0.1:8080", api.to_string());
            }
        }
        match kind {
            Kind::Nginx => change("listen 8443", format!("listen {at}")),
            Kind::Haproxy => change("bind :8443", format!("bind {at}")),
            Kind::Apache => {
                change("Listen 8443", format!("Listen {at}"));
                change("*:8443", at.clone());
            }
            Kind::Caddy => change("api.example.com:8443", format!("{HOST}:{port}")),
            Kind::Envoy if api.is_some() => change("api.example.com:8443", format!("{HOST}:{port}")),
            Kind::Envoy => {}
        }
        if api.is_some() && matches!(kind, Kind::Nginx | Kind::Envoy) {
            change("api.example.com", HOST.to_owned());
        }
        let etc = match kind {
            Kind::Nginx => "/etc/nginx",
            Kind::Haproxy => "/etc/haproxy",
            Kind::Apache => "/etc/apache2",
            Kind::Caddy => "/etc/caddy",
            Kind::Envoy => "/etc/envoy",
        };
        if deployed(file).contains(etc) {
            change(etc, here.clone());
        }
        let changes: Vec<(&str, &str)> = changes.iter().map(|(from, to)| (from.as_str(), to.as_str())).collect();
        let mut text = adapted(file, &changes);
        for (from, to) in more {
            assert!(text.contains(from), "deploy/{file} has no {from}");
            text = text.replace(from, to);
        }
        let mut command = command(kind, &text, &here, folder.path());
        let log = fs::File::create(folder.path().join("log")).unwrap();
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).current_dir(folder.path());
        command.env("LD_LIBRARY_PATH", unpacked("usr/lib/x86_64-linux-gnu"));
        let child = command.spawn().unwrap_or_else(|error| {
            panic!("{kind:?} cannot be started: {error}; run `make test`, which installs it first")
        });
        let mut product = Self { address: at.parse().unwrap(), child, folder };
        product.listens(kind).await;
        product
    }

    async fn listens(&mut self, kind: Kind) {
        let address = self.address;
        eventually("the product listens", async || {
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none(), "{kind:?} ended: {}", self.log());
            tokio::net::TcpStream::connect(address).await.ok().map(drop)
        })
        .await;
    }

    /// What it wrote.
    pub fn log(&self) -> String {
        let read = |name: &str| fs::read_to_string(self.folder.path().join(name)).unwrap_or_default();
        read("log") + &read("error.log")
    }
}

/// Each in the foreground and in one process, so that its id is all there is to end.
fn command(kind: Kind, text: &str, here: &str, folder: &Path) -> Command {
    let write = |name: &str, text: &str| {
        fs::write(folder.join(name), text).unwrap();
        folder.join(name)
    };
    match kind {
        Kind::Nginx => {
            let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
            let temporary: String =
                temporary.iter().map(|name| format!("  {name}_temp_path {here}/{name};\n")).collect();
            let around = format!(
                "daemon off;\nmaster_process off;\npid {here}/pid;\nerror_log {here}/error.log;\nevents {{}}\nhttp {{\n  access_log off;\n{temporary}{text}\n}}\n"
            );
            let mut command = Command::new(unpacked("usr/sbin/nginx"));
            command.arg("-e").arg(folder.join("error.log")).arg("-p").arg(folder);
            command.arg("-c").arg(write("nginx.conf", &around));
            command
        }
        Kind::Haproxy => {
            let mut command = Command::new(unpacked("usr/sbin/haproxy"));
            command.arg("-db").arg("-f").arg(write("haproxy.cfg", text));
            command
        }
        Kind::Apache => {
            let modules = unpacked("usr/lib/apache2/modules");
            let names = ["mpm_event", "authz_core", "headers", "socache_shmcb", "ssl", "proxy", "proxy_http"];
            let modules: String = names
                .iter()
                .map(|name| format!("LoadModule {name}_module {}/mod_{name}.so\n", modules.display()))
                .collect();
            let around = format!(
                "{modules}ServerName localhost\nServerRoot {here}\nPidFile {here}/pid\nErrorLog {here}/error.log\nUser www-data\nGroup www-data\nDefaultRuntimeDir {here}\nMutex sem\nSSLSessionCache none\n{text}"
            );
            let mut command = Command::new(unpacked("usr/sbin/apache2"));
            command.arg("-X").arg("-f").arg(write("apache2.conf", &around));
            command
        }
        Kind::Caddy => {
            let around = format!(
                "{{\n\tadmin off\n\tauto_https off\n\tdefault_bind 127.0.0.1\n\tskip_install_trust\n}}\n{text}"
            );
            let mut command = Command::new(unpacked("usr/bin/caddy"));
            command.args(["run", "--adapter", "caddyfile", "--config"]).arg(write("Caddyfile", &around));
            command.env("XDG_DATA_HOME", folder).env("XDG_CONFIG_HOME", folder).env("HOME", folder);
            command
        }
        Kind::Envoy => {
            let installed = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/interop/bin/envoy");
            let mut command = Command::new(installed);
            command.arg("-c").arg(write("envoy.yaml", text));
            command.args(["--disable-hot-restart", "--concurrency", "1", "--log-level", "warning"]);
            command
        }
    }
}

impl Drop for Product {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
