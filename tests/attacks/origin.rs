//! What stands behind the gateway: three servers that others wrote, and one that takes nothing but canonical HTTP/1.1.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use tempfile::TempDir;
use tokio::task::JoinHandle;

use crate::{eventually, strict};

/// What only the protected route may reach.
pub const SECRET: &str = "nobody may read this";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Nginx,
    Apache,
    Node,
    Strict,
}

/// It ends with this.
pub struct Origin {
    pub kind: Kind,
    pub address: SocketAddr,
    child: Option<Child>,
    strict: Option<(JoinHandle<()>, strict::Log)>,
    folder: TempDir,
}

fn installed(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("target/interop").join(name)
}

/// A port that nobody listens on. The system picks it; these servers cannot let it do so.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

impl Origin {
    pub async fn start(kind: Kind) -> Self {
        let folder = tempfile::tempdir().unwrap();
        // A server that gives up its rights must find its files all the same.
        #[cfg(unix)]
        fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let www = folder.path().join("www");
        fs::create_dir_all(www.join("private")).unwrap();
        fs::write(www.join("private/secret"), SECRET).unwrap();
        fs::write(www.join("fine"), "fine").unwrap();
        if kind == Kind::Strict {
            let log: strict::Log = Arc::new(Mutex::new(Vec::new()));
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let task = tokio::spawn(strict::serve(listener, Arc::clone(&log)));
            return Self { kind, address, child: None, strict: Some((task, log)), folder };
        }
        let (child, address) = match kind {
            Kind::Node => node(folder.path()),
            Kind::Nginx => nginx(folder.path()),
            Kind::Apache | Kind::Strict => apache(folder.path()),
        };
        let mut origin = Self { kind, address, child: Some(child), strict: None, folder };
        origin.listens().await;
        origin
    }

    async fn listens(&mut self) {
        let (kind, address, folder) = (self.kind, self.address, self.folder.path().to_owned());
        let child = self.child.as_mut().unwrap();
        eventually("the server listens", async || {
            let said = || fs::read_to_string(folder.join("error.log")).unwrap_or_default();
            assert!(child.try_wait().unwrap().is_none(), "{kind:?} ended: {}", said());
            tokio::net::TcpStream::connect(address).await.ok().map(drop)
        })
        .await;
    }

    /// The request lines that it has seen so far, but for so many; what it could not read is a line, too.
    pub fn seen(&self, but: usize) -> Vec<String> {
        if let Some((_, log)) = &self.strict {
            return log.lock().unwrap().iter().skip(but).cloned().collect();
        }
        let text = fs::read(self.folder.path().join("access.log")).unwrap_or_default();
        // The last line may not be whole yet.
        let lines = text.split_inclusive(|byte| *byte == b'\n').filter_map(|line| line.strip_suffix(b"\n"));
        lines.skip(but).map(|line| String::from_utf8_lossy(line).into_owned()).collect()
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        if let Some((task, _)) = &self.strict {
            task.abort();
        }
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn spawn(command: &mut Command, folder: &Path) -> Child {
    let log = fs::File::create(folder.join("error.log")).unwrap();
    command.stdin(Stdio::null()).stderr(log).current_dir(folder);
    command.env("LD_LIBRARY_PATH", installed("debian/usr/lib/x86_64-linux-gnu"));
    command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}; run `make test`, which installs it first"))
}

fn nginx(folder: &Path) -> (Child, SocketAddr) {
    let (here, port) = (folder.display(), free_port());
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    let temporary: String = temporary.iter().map(|name| format!("{name}_temp_path {here}/{name};\n")).collect();
    let text = format!(
        "daemon off; master_process off; pid {here}/pid; error_log {here}/error.log; events {{}}
http {{
{temporary}
  log_format seen '$request';
  access_log {here}/access.log seen;
  keepalive_timeout 60s;
  keepalive_requests 1000000;
  ignore_invalid_headers off;
  underscores_in_headers on;
  server {{
    listen 127.0.0.1:{port};
    root {here}/www;
    location /api/ {{ return 200 fine; }}
    location /open/ {{ return 200 fine; }}
    location / {{ error_page 405 =200 $uri; }}
  }}
}}"
    );
    fs::write(folder.join("nginx.conf"), text).unwrap();
    let mut command = Command::new(installed("debian/usr/sbin/nginx"));
    command.arg("-e").arg(folder.join("error.log")).arg("-p").arg(folder).arg("-c").arg(folder.join("nginx.conf"));
    (spawn(command.stdout(Stdio::null()), folder), SocketAddr::from(([127, 0, 0, 1], port)))
}

fn apache(folder: &Path) -> (Child, SocketAddr) {
    let (here, port) = (folder.display(), free_port());
    let modules = installed("debian/usr/lib/apache2/modules");
    let modules: String = ["mpm_event", "authz_core", "alias"]
        .iter()
        .map(|name| format!("LoadModule {name}_module {}/mod_{name}.so\n", modules.display()))
        .collect();
    let text = format!(
        "{modules}
ServerName localhost
ServerRoot {here}
PidFile {here}/pid
ErrorLog {here}/error.log
User www-data
Group www-data
DefaultRuntimeDir {here}
Mutex sem
Listen 127.0.0.1:{port}
HttpProtocolOptions Unsafe LenientMethods Allow0.9
AllowEncodedSlashes On
KeepAliveTimeout 60
MaxKeepAliveRequests 0
LogFormat \"%r\" seen
CustomLog {here}/access.log seen
DocumentRoot {here}/www
AliasMatch ^/(api|open)/ {here}/www/fine
"
    );
    fs::write(folder.join("apache2.conf"), text).unwrap();
    let mut command = Command::new(installed("debian/usr/sbin/apache2"));
    command.arg("-X").arg("-f").arg(folder.join("apache2.conf"));
    (spawn(command.stdout(Stdio::null()), folder), SocketAddr::from(([127, 0, 0, 1], port)))
}

fn node(folder: &Path) -> (Child, SocketAddr) {
    let mut command = Command::new(installed("bin/node"));
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/attacks/api.mjs"));
    command.arg(folder.join("www")).arg(folder.join("access.log")).stdout(Stdio::piped());
    let mut child = spawn(&mut command, folder);
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let port: u16 = line.trim().parse().expect("a port");
    (child, SocketAddr::from(([127, 0, 0, 1], port)))
}
