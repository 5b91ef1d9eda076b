//! Where the shared store is, and how it is asked.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use zeroize::Zeroizing;

use crate::replay::OnFailure;

/// A Redis or Valkey that replicas share.
#[derive(Debug, Clone)]
pub struct RedisSettings {
    /// The server; with Sentinel, all Sentinels; with Cluster, at least one node.
    pub servers: Vec<Address>,
    /// How masters are found.
    pub topology: Topology,
    /// Absent: plain TCP.
    pub tls: Option<Arc<rustls::ClientConfig>>,
    /// Hashes of the files that `tls` was made of, by which one is told from another.
    pub tls_files: Vec<[u8; 32]>,
    /// Who the gateway is to the servers.
    pub credentials: Credentials,
    /// The number of the database; a cluster has only 0.
    pub database: u16,
    /// Before each key.
    pub key_prefix: String,
    /// The longest that a request waits for the store.
    pub timeout: Duration,
    /// What becomes of requests while the store does not answer.
    pub on_failure: OnFailure,
}

impl RedisSettings {
    /// The prefix of keys unless another is configured.
    pub const KEY_PREFIX: &str = "keybound:";

    /// The longest wait unless another is configured.
    pub const TIMEOUT: Duration = Duration::from_millis(50);

    /// One server, everything else at its default.
    pub fn single(address: Address) -> Self {
        Self {
            servers: vec![address],
            topology: Topology::Single,
            tls: None,
            tls_files: Vec::new(),
            credentials: Credentials::default(),
            database: 0,
            key_prefix: Self::KEY_PREFIX.to_owned(),
            timeout: Self::TIMEOUT,
            on_failure: OnFailure::Deny,
        }
    }

    /// Whether these are the same store and the same use of it. Who the gateway is to the servers, and by what it knows
    /// them, may differ: that may change while a process runs.
    pub fn is_same_store(&self, other: &Self) -> bool {
        self.reached_like(other) == *other
    }

    /// The same store, reached with the names, passwords and certificates of `other`.
    #[must_use]
    pub fn reached_like(&self, other: &Self) -> Self {
        let mut like = self.clone();
        like.credentials.clone_from(&other.credentials);
        if let (Topology::Sentinel { credentials, .. }, Topology::Sentinel { credentials: others, .. }) =
            (&mut like.topology, &other.topology)
        {
            credentials.clone_from(others);
        }
        if like.tls.is_some() && other.tls.is_some() {
            like.tls.clone_from(&other.tls);
            like.tls_files.clone_from(&other.tls_files);
        }
        like
    }
}

/// TLS is the same when it was made of the same files.
impl PartialEq for RedisSettings {
    fn eq(&self, other: &Self) -> bool {
        let Self { servers, topology, tls, tls_files, credentials, database, key_prefix, timeout, on_failure } = self;
        *servers == other.servers
            && *topology == other.topology
            && tls.is_some() == other.tls.is_some()
            && *tls_files == other.tls_files
            && *credentials == other.credentials
            && *database == other.database
            && *key_prefix == other.key_prefix
            && *timeout == other.timeout
            && *on_failure == other.on_failure
    }
}

impl Eq for RedisSettings {}

/// How masters are found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Topology {
    /// There is one server.
    Single,
    /// Sentinels know the master of this name.
    Sentinel {
        /// As in `sentinel monitor`.
        master: String,
        /// Who the gateway is to the Sentinels.
        credentials: Credentials,
    },
    /// Keys are spread over the masters of a cluster.
    Cluster,
}

/// A host name or address, and a port.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Address {
    /// Without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

/// A name and a password; neither is needed where the server demands none.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Credentials {
    /// An ACL user; absent: the default user.
    pub username: Option<String>,
    /// Its password.
    pub password: Option<Zeroizing<String>>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let password = self.password.as_ref().map(|_| "…");
        f.debug_struct("Credentials").field("username", &self.username).field("password", &password).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secured(files: u8) -> RedisSettings {
        let roots = rustls::RootCertStore::empty();
        let tls = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        let server = Address { host: "redis.example".to_owned(), port: 6379 };
        RedisSettings { tls: Some(Arc::new(tls)), tls_files: vec![[files; 32]], ..RedisSettings::single(server) }
    }

    #[test]
    fn it_is_another_store_if_anything_but_the_way_to_it_is_another() {
        let here = secured(1);
        assert!(here == secured(1) && here.is_same_store(&secured(1)));
        let changes: [fn(&mut RedisSettings); 8] = [
            |other| other.servers[0].port = 6380,
            |other| other.topology = Topology::Cluster,
            |other| (other.tls, other.tls_files) = (None, Vec::new()),
            |other| other.tls = None,
            |other| other.database = 1,
            |other| other.key_prefix.clear(),
            |other| other.timeout *= 2,
            |other| other.on_failure = OnFailure::Local,
        ];
        for (number, change) in changes.into_iter().enumerate() {
            let mut other = secured(1);
            change(&mut other);
            assert!(here != other && !here.is_same_store(&other) && !other.is_same_store(&here), "{number}");
        }
    }

    #[test]
    fn it_is_the_same_store_reached_with_other_secrets() {
        let somebody = Credentials { username: Some("gateway".to_owned()), password: Some("new".to_owned().into()) };
        let here = secured(1);
        for other in [secured(2), RedisSettings { credentials: somebody.clone(), ..secured(1) }] {
            assert!(here != other && here.is_same_store(&other));
            assert!(here.reached_like(&other) == other);
        }
        let sentinels = |credentials: Credentials, master: &str| RedisSettings {
            topology: Topology::Sentinel { master: master.to_owned(), credentials },
            ..secured(1)
        };
        let here = sentinels(Credentials::default(), "main");
        assert!(here.is_same_store(&sentinels(somebody.clone(), "main")));
        assert!(!here.is_same_store(&sentinels(somebody, "other")));
    }
}
