//! The peers that Debian packages, set up for the same job. Whoever is not installed is left out.

use std::net::SocketAddr;
use std::process::Command;

use crate::machine;
use crate::stage::{Server, Stage, free_port};

/// nginx as a plain TLS proxy: what everything is compared with.
pub struct Nginx {
    pub server: Server,
    /// Asks for no client certificate, writes no log.
    pub plain: SocketAddr,
    /// Asks for a client certificate and takes any.
    pub asking: SocketAddr,
    /// Writes its access log.
    pub logging: SocketAddr,
}

fn installed(program: &str) -> bool {
    let found = Command::new(program).arg("-v").output().is_ok();
    if !found {
        eprintln!("{program} is not installed: left out (see benches/install)");
    }
    found
}

/// The version that a program tells of itself.
pub fn version(program: &str) -> Option<String> {
    let output = Command::new(program).arg("-v").output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    let number = |word: &str| {
        let word = word.trim_start_matches(|c: char| !c.is_ascii_digit());
        let word: String = word.chars().take_while(|c| c.is_ascii_digit() || *c == '.').collect();
        (word.matches('.').count() == 2).then_some(word)
    };
    text.split_whitespace().find_map(number)
}

impl Nginx {
    pub fn start(stage: &Stage) -> Self {
        assert!(installed("nginx"), "nothing can be compared without nginx");
        let (plain, asking, logging) = (free_port(), free_port(), free_port());
        let server = |address: SocketAddr, more: &str| {
            format!(
                "server {{ listen {address} ssl http2 backlog=4096; {more}
                   location / {{ proxy_pass http://api; proxy_http_version 1.1; proxy_set_header Connection ''; }} }}\n"
            )
        };
        let servers = server(plain, "access_log off;")
            + &server(asking, "access_log off; ssl_verify_client optional_no_ca;")
            + &server(logging, "access_log access.log combined;");
        let text = format!(
            "daemon off; user root; worker_processes 1; pid nginx.pid; error_log stderr error;
             events {{ worker_connections 24000; }}
             http {{
               client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi;
               keepalive_requests 1000000000; keepalive_timeout 300s;
               ssl_certificate tls.crt; ssl_certificate_key tls.key; ssl_protocols TLSv1.2 TLSv1.3;
               upstream api {{ server {}; keepalive 1024; keepalive_requests 1000000000; }}
               {servers} }}",
            stage.upstream
        );
        let config = stage.write("nginx.conf", &text);
        let mut command = Command::new("nginx");
        command.arg("-p").arg(stage.path("")).arg("-c").arg(config);
        Self { server: stage.start("nginx", &mut command, plain), plain, asking, logging }
    }
}

/// Where replicas remember together; on the load generator's core.
pub fn redis(stage: &Stage) -> Option<(Server, u16)> {
    if !installed("redis-server") {
        return None;
    }
    let address = free_port();
    let mut command = Command::new("redis-server");
    command.args(["--port", &address.port().to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]);
    Some((stage.start_on(machine::LOAD_CORE, "redis", &mut command, address), address.port()))
}

/// HAProxy, which verifies the signature of a Bearer token on each request and binds it to nothing.
pub fn haproxy(stage: &Stage) -> Option<(Server, SocketAddr, SocketAddr)> {
    if !installed("haproxy") {
        return None;
    }
    let (plain, verifying) = (free_port(), free_port());
    let bind = |address: SocketAddr| format!("bind {address} ssl crt tls.pem alpn h2,http/1.1");
    let text = format!(
        "global\n maxconn 8000\n nbthread 1\n
         defaults\n mode http\n timeout connect 5s\n timeout client 60s\n timeout server 60s\n default_backend api\n
         frontend plain\n {}\n
         frontend verifying\n {}\n http-request set-var(txn.token) http_auth_bearer
          http-request deny deny_status 401 unless {{ var(txn.token),jwt_verify(\"ES256\",\"issuer.pem\") 1 }}\n
         backend api\n http-reuse always\n server api {}\n",
        bind(plain),
        bind(verifying),
        stage.upstream
    );
    let config = stage.write("haproxy.cfg", &text);
    let server = stage.start("haproxy", Command::new("haproxy").arg("-f").arg(config), plain);
    Some((server, plain, verifying))
}

/// Apache with mod_oauth2, the peer that does the same job: DPoP on one port, mTLS on the other.
pub fn apache(stage: &Stage) -> Option<(Server, SocketAddr, SocketAddr)> {
    const MODULES: [&str; 11] = [
        "mpm_event",
        "ssl",
        "proxy",
        "proxy_http",
        "authz_core",
        "authz_user",
        "authn_core",
        "socache_shmcb",
        "headers",
        "http2",
        "oauth2",
    ];
    let module = |name: &str| std::path::PathBuf::from(format!("/usr/lib/apache2/modules/mod_{name}.so"));
    if !installed("apache2") || !module("oauth2").exists() {
        eprintln!("mod_oauth2 is not installed: left out (see benches/install)");
        return None;
    }
    let (dpop, mtls) = (free_port(), free_port());
    let modules: String =
        MODULES.iter().map(|name| format!("LoadModule {name}_module {}\n", module(name).display())).collect();
    let key = stage.issuer.jwk().to_string();
    let host = |address: SocketAddr, kind: &str, scheme: &str, more: &str| {
        format!(
            "Listen {address}\n<VirtualHost {address}>\nServerName https://localhost:{}\nSSLEngine on\nSSLCertificateFile tls.crt\n\
             SSLCertificateKeyFile tls.key\nProtocols h2 http/1.1\n{more}\n\
             ProxyPass / http://{}/ enablereuse=on keepalive=on\n\
             <Location />\nAuthType oauth2\nRequire valid-user\nOAuth2AcceptTokenIn header name=Authorization&type={scheme}\n\
             OAuth2TokenVerify jwk '{key}' type={kind}&verify.iat=skip\n</Location>\n</VirtualHost>\n",
            address.port(),
            stage.upstream
        )
    };
    let text = format!(
        "ServerRoot {}\nServerName localhost\nPidFile apache.pid\nErrorLog apache-error.log\nLogLevel error\nUser www-data\nGroup www-data\n{modules}\
         ThreadLimit 256\nThreadsPerChild 256\nStartServers 1\nServerLimit 1\nMaxRequestWorkers 256\nMinSpareThreads 1\nMaxSpareThreads 256\n\
         KeepAlive On\nMaxKeepAliveRequests 0\nKeepAliveTimeout 60\n{}{}",
        stage.path("").display(),
        host(dpop, "dpop", "dpop", ""),
        host(mtls, "mtls", "bearer", "SSLVerifyClient optional_no_ca\nSSLOptions +StdEnvVars +ExportCertData"),
    );
    let config = stage.write("apache.conf", &text);
    let server = stage.start("apache", Command::new("apache2").arg("-DFOREGROUND").arg("-f").arg(config), dpop);
    Some((server, dpop, mtls))
}
