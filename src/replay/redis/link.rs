//! One connection to a server, and what the server says about itself.

use std::sync::Arc;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, RedisConnectionInfo};
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::task::AbortHandle;
use tokio_rustls::TlsConnector;

use super::failure::Failure;
use super::settings::{Address, Credentials, RedisSettings};
use crate::clock::Clock;
use crate::time::UnixTime;

/// The longest wait for a server that nobody's request waits for.
pub(super) const PATIENCE: Duration = Duration::from_millis(500);

/// How far the clocks of gateway and store may differ.
pub(super) const CLOCKS: Duration = Duration::from_secs(2);

/// How connections are made.
#[derive(Clone)]
pub(super) struct Dial {
    tls: Option<TlsConnector>,
    who: RedisConnectionInfo,
}

impl Dial {
    /// Connections to servers that hold keys, in the settings' database.
    pub(super) fn to_data(settings: &RedisSettings) -> Self {
        let mut dial = Self::to_control(settings, &settings.credentials);
        dial.who = dial.who.set_db(settings.database.into());
        dial
    }

    /// Connections that only ask where keys are.
    pub(super) fn to_control(settings: &RedisSettings, credentials: &Credentials) -> Self {
        let mut who = RedisConnectionInfo::default().set_skip_set_lib_name();
        if let Some(username) = &credentials.username {
            who = who.set_username(username);
        }
        if let Some(password) = &credentials.password {
            who = who.set_password(password.as_str());
        }
        Self { tls: settings.tls.clone().map(TlsConnector::from), who }
    }

    /// Connects on a runtime, which then drives the connection.
    pub(super) async fn connect(&self, address: &Address, runtime: &Handle) -> Result<Link, Failure> {
        let (dial, to) = (self.clone(), address.clone());
        let connecting = runtime.spawn(async move {
            tokio::time::timeout(PATIENCE, dial.open(&to)).await.map_err(|_| Failure::Slow(PATIENCE))?
        });
        let ended = |_| Failure::Unreachable(address.clone(), "the process ends".to_owned());
        // A worker that is stuck must not hold up the others.
        tokio::time::timeout(2 * PATIENCE, connecting).await.map_err(|_| Failure::Slow(PATIENCE))?.map_err(ended)?
    }

    async fn open(&self, address: &Address) -> Result<Link, Failure> {
        let unreachable = |error: std::io::Error| Failure::Unreachable(address.clone(), error.to_string());
        let stream = TcpStream::connect((address.host.as_str(), address.port)).await.map_err(unreachable)?;
        stream.set_nodelay(true).map_err(unreachable)?;
        let Some(tls) = &self.tls else { return self.greet(stream, address).await };
        let name = ServerName::try_from(address.host.clone())
            .map_err(|_| Failure::Puzzling(address.clone(), "a name that no certificate can have"))?;
        self.greet(tls.connect(name, stream).await.map_err(unreachable)?, address).await
    }

    async fn greet<S>(&self, stream: S, address: &Address) -> Result<Link, Failure>
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    {
        // Whoever asks brings a limit of time.
        let config = AsyncConnectionConfig::new().set_response_timeout(None);
        let greeted = MultiplexedConnection::new_with_config(&self.who, stream, config).await;
        let (connection, driver) = greeted.map_err(|error| Failure::of(address, &error))?;
        Ok(Link { connection, driver: tokio::spawn(driver).abort_handle() })
    }
}

/// A connection. Whatever waits for an answer over it fails when this is dropped.
pub(super) struct Link {
    connection: MultiplexedConnection,
    driver: AbortHandle,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Link {
    /// Whether it did not break yet, as far as this side knows.
    pub(super) fn is_open(&self) -> bool {
        !self.driver.is_finished()
    }

    /// For one command. Many commands may be on their way at once.
    pub(super) fn connection(&self) -> MultiplexedConnection {
        self.connection.clone()
    }

    /// Asks a server that answers in its time.
    pub(super) async fn ask<T: redis::FromRedisValue>(
        &self,
        address: &Address,
        command: &redis::Cmd,
    ) -> Result<T, Failure> {
        let mut connection = self.connection();
        let answer = tokio::time::timeout(PATIENCE, command.query_async(&mut connection)).await;
        answer.map_err(|_| Failure::Slow(PATIENCE))?.map_err(|error| Failure::of(address, &error))
    }

    /// Whether it leads to a master that remembers, and to which one.
    pub(super) async fn identify(&self, address: &Address, clock: &Arc<dyn Clock>) -> Result<Identity, Failure> {
        let mut questions = redis::pipe();
        for section in ["server", "replication", "memory", "stats"] {
            questions.cmd("INFO").arg(section);
        }
        questions.cmd("TIME");
        let mut connection = self.connection();
        let asked = clock.now();
        let answers = tokio::time::timeout(PATIENCE, questions.query_async(&mut connection)).await;
        let answered = clock.now();
        let answers: (String, String, String, String, (i64, i64)) =
            answers.map_err(|_| Failure::Slow(PATIENCE))?.map_err(|error| Failure::of(address, &error))?;
        let (server, replication, memory, stats, (seconds, micros)) = answers;
        let missing = |what| Failure::Puzzling(address.clone(), what);
        let run = field(&server, "run_id").ok_or_else(|| missing("INFO without run_id"))?;
        let history = field(&replication, "master_replid").ok_or_else(|| missing("INFO without master_replid"))?;
        if field(&replication, "role") != Some("master") {
            return Err(Failure::NotMaster(address.clone()));
        }
        let bound = field(&memory, "maxmemory").ok_or_else(|| missing("INFO without maxmemory"))?;
        let policy = field(&memory, "maxmemory_policy").unwrap_or("unknown");
        if bound != "0" && policy != "noeviction" {
            return Err(Failure::Evicts(address.clone(), policy.to_owned()));
        }
        let off = clock_off(asked, (seconds, micros), answered);
        if off.abs() > CLOCKS.as_secs_f64() {
            return Err(Failure::Clock(address.clone(), off.abs()));
        }
        let evicted = field(&stats, "evicted_keys").unwrap_or_default();
        Ok(Identity(format!("{run} {history} {evicted}").into()))
    }
}

/// Which memory a server is: another one after each restart, after each promotion, and when it let go of keys.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Identity(Arc<str>);

#[cfg(test)]
impl Identity {
    /// One that no server has.
    pub(super) fn invented(name: &str) -> Self {
        Self(name.into())
    }
}

/// How far the store's clock is ahead of ours, at least, in seconds; its answer to `TIME` was made at some moment between
/// two of ours. Keys expire by the store's clock, and proofs by the gateways'.
pub(super) fn clock_off(asked: UnixTime, (seconds, micros): (i64, i64), answered: UnixTime) -> f64 {
    let theirs = UnixTime::from_millis(seconds.saturating_mul(1000).saturating_add(micros / 1000));
    if theirs < asked {
        theirs.seconds_since(asked)
    } else if theirs > answered {
        theirs.seconds_since(answered)
    } else {
        0.0
    }
}

/// One line of INFO.
pub(super) fn field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_of_info_is_found_by_its_whole_name() {
        let info = "# Memory\r\nmaxmemory:0\r\nmaxmemory_human:0B\r\nmaxmemory_policy:noeviction\r\n";
        assert_eq!(field(info, "maxmemory"), Some("0"));
        assert_eq!(field(info, "maxmemory_policy"), Some("noeviction"));
        assert_eq!(field(info, "memory"), None);
        assert_eq!(field(info, "max"), None);
    }

    #[test]
    fn clocks_may_differ_by_a_little() {
        let at = UnixTime::from_millis;
        let off = |theirs: i64| clock_off(at(100_000), (theirs / 1000, theirs % 1000 * 1000), at(101_000));
        for theirs in [98_000, 100_000, 100_500, 101_000, 103_000] {
            assert!(off(theirs).abs() <= CLOCKS.as_secs_f64(), "{theirs}");
        }
        for theirs in [97_999, 103_001] {
            assert!(off(theirs).abs() > CLOCKS.as_secs_f64(), "{theirs}");
        }
        assert!(off(97_000) < 0.0 && off(104_000) > 0.0);
    }
}
