//! New connections to one endpoint: its name looked up, TCP, and TLS where it is an `https` one.
//!
//! A name stands for all of its addresses: new connections go to them in turn, and to the next one when one refuses.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use http::Request;
use http::uri::{Authority, Scheme};
use rustls::pki_types::ServerName;
use tokio::net::{TcpStream, lookup_host};
use tokio::sync::Notify;
use tokio::time::{Instant as Moment, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::either::Either;

use super::random;
use super::streams::adapt;

/// How long the addresses of a name are believed.
const BELIEVED: Duration = Duration::from_secs(15);

/// A name is looked up no more often than this.
const SOONEST: Duration = Duration::from_secs(1);

/// How long an address that refused comes last, as long as the name keeps it.
const REFUSED: Duration = Duration::from_mins(5);

/// Addresses of one name that are used. Those beyond are left out.
const MOST_ADDRESSES: usize = 64;

/// Addresses that are tried for one connection.
const MOST_TRIED: usize = 4;

/// A connection that HTTP can be spoken over.
pub type Transport = Either<TcpStream, Box<TlsStream<TcpStream>>>;

/// TLS towards one endpoint.
pub struct Tls {
    /// What to trust and what to show.
    pub connector: TlsConnector,
    /// Whose certificate it must be.
    pub name: ServerName<'static>,
    /// What must be agreed on, if anything (ALPN, RFC 7301).
    pub protocol: Option<&'static [u8]>,
}

/// Connects to one endpoint.
pub struct Dialer {
    authority: Authority,
    host: String,
    port: u16,
    tls: Option<Tls>,
    timeout: Duration,
    /// Where the host is an address itself, there is nothing to look up.
    fixed: Option<SocketAddr>,
    known: Mutex<Known>,
    /// Whoever has no address waits here for whoever looks the name up.
    first: tokio::sync::Mutex<()>,
    /// No address could be reached: the name may have moved.
    moved: Notify,
    /// Grows when the name gets other addresses.
    edition: AtomicUsize,
}

/// What a name stood for when it was last looked up.
#[derive(Default)]
struct Known {
    /// In order, so that two look-ups can be compared.
    addresses: Vec<SocketAddr>,
    turn: usize,
    /// They refused a moment ago, and come last.
    refused: Vec<SocketAddr>,
    /// Until when that is remembered.
    forgiven: Option<Instant>,
}

/// Which address a connection goes to, and since which edition of the addresses it is known to be one of them.
#[derive(Debug, Clone, Copy)]
pub struct Origin {
    address: SocketAddr,
    edition: usize,
}

impl Dialer {
    /// For this host and port. `tls` is what makes it `https`.
    pub fn new(authority: &Authority, tls: Option<Tls>, timeout: Duration) -> Self {
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let port = authority.port_u16().unwrap_or(if tls.is_some() { 443 } else { 80 });
        let fixed = host.parse::<IpAddr>().ok().map(|ip| SocketAddr::new(ip, port));
        #[allow(clippy::cast_possible_truncation, reason = "any number will do")]
        let known = Known { turn: random::next() as usize >> 1, ..Known::default() };
        let (first, moved) = (tokio::sync::Mutex::new(()), Notify::new());
        let (authority, known, edition) = (authority.clone(), Mutex::new(known), AtomicUsize::new(0));
        Self { authority, host, port, tls, timeout, fixed, known, first, moved, edition }
    }

    /// The longest that anybody waits for a connection.
    pub const fn patience(&self) -> Duration {
        self.timeout
    }

    /// A new connection, within the time for it: name, TCP and TLS together.
    ///
    /// # Errors
    /// What the last address that was tried said.
    pub async fn dial(&self) -> io::Result<(Transport, Origin)> {
        let end = Moment::now() + self.timeout;
        timeout(self.timeout, self.try_addresses(end)).await.unwrap_or_else(|_| Err(self.too_slow()))
    }

    async fn try_addresses(&self, end: Moment) -> io::Result<(Transport, Origin)> {
        let mut error = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        let (edition, addresses) = (self.edition.load(Relaxed), self.addresses().await?);
        let mut left = u32::try_from(addresses.len()).unwrap_or(u32::MAX);
        for address in addresses {
            let share = end.saturating_duration_since(Moment::now()) / left;
            left -= 1;
            match timeout(share, self.connect(address)).await {
                Ok(Ok(connection)) => return Ok((connection, Origin { address, edition })),
                Ok(Err(refused)) => error = refused,
                Err(_) => error = self.too_slow(),
            }
            self.lock().refuse(address);
        }
        self.moved.notify_one();
        Err(error)
    }

    fn too_slow(&self) -> io::Error {
        let text = format!("none within {}", humantime::format_duration(self.timeout));
        io::Error::new(io::ErrorKind::TimedOut, text)
    }

    async fn connect(&self, address: SocketAddr) -> io::Result<Transport> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        match &self.tls {
            None => Ok(Either::Left(stream)),
            Some(Tls { connector, name, protocol }) => {
                let stream = connector.connect(name.clone(), stream).await?;
                if protocol.is_some() && stream.get_ref().1.alpn_protocol() != *protocol {
                    return Err(io::Error::new(
                        io::ErrorKind::InvalidData,
                        "the upstream did not agree on HTTP/2 (ALPN)",
                    ));
                }
                Ok(Either::Right(Box::new(stream)))
            }
        }
    }

    /// Turns a request into one for HTTP/2.
    pub fn adapt<B>(&self, request: &mut Request<B>) {
        let scheme = if self.tls.is_some() { Scheme::HTTPS } else { Scheme::HTTP };
        adapt(request, &scheme, &self.authority);
    }

    /// Those to try, the next one first.
    async fn addresses(&self) -> io::Result<Vec<SocketAddr>> {
        if let Some(fixed) = self.fixed {
            return Ok(vec![fixed]);
        }
        let known = self.lock().in_turn();
        if !known.is_empty() {
            // Somebody else looks it up again. Nobody waits for that: where it was is a better guess than nowhere, and
            // who knows the name may be away.
            return Ok(known);
        }
        let _first = self.first.lock().await;
        if self.lock().addresses.is_empty() {
            self.look_up().await?;
        }
        Ok(self.lock().in_turn())
    }

    /// Waits until it is time to look the name up again.
    pub async fn is_due(&self) {
        // Whatever happens, so often is enough.
        tokio::time::sleep(SOONEST).await;
        let _ = timeout(BELIEVED.saturating_sub(SOONEST), self.moved.notified()).await;
    }

    /// Whether there is a name to look up.
    pub const fn has_name(&self) -> bool {
        self.fixed.is_none()
    }

    /// Asks the system what the name stands for now.
    ///
    /// # Errors
    /// Those of the system. What was known stays known.
    pub async fn look_up(&self) -> io::Result<()> {
        let found: Vec<SocketAddr> = lookup_host((self.host.as_str(), self.port)).await?.collect();
        if found.is_empty() {
            return Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address"));
        }
        if self.lock().learn(found) {
            self.edition.fetch_add(1, Relaxed);
        }
        Ok(())
    }

    /// Whether a connection goes to an address that the name still has.
    pub fn still_knows(&self, origin: &mut Origin) -> bool {
        let edition = self.edition.load(Relaxed);
        if origin.edition == edition {
            return true;
        }
        origin.edition = edition;
        self.lock().addresses.binary_search(&origin.address).is_ok()
    }

    /// Nothing between lock and unlock leaves it half changed.
    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    /// Whether anything changed.
    fn learn(&mut self, mut found: Vec<SocketAddr>) -> bool {
        found.sort_unstable();
        found.dedup();
        found.truncate(MOST_ADDRESSES);
        let changed = self.addresses != found;
        if changed || self.forgiven.is_none_or(|at| at <= Instant::now()) {
            self.refused.clear();
            self.forgiven = Some(Instant::now() + REFUSED);
        }
        self.addresses = found;
        changed
    }

    fn refuse(&mut self, address: SocketAddr) {
        if !self.refused.contains(&address) {
            self.refused.push(address);
        }
    }

    fn in_turn(&mut self) -> Vec<SocketAddr> {
        self.turn = self.turn.wrapping_add(1);
        let mut addresses = self.addresses.clone();
        if !addresses.is_empty() {
            let first = self.turn % addresses.len();
            addresses.rotate_left(first);
        }
        addresses.sort_by_key(|address| self.refused.contains(address));
        addresses.truncate(MOST_TRIED);
        addresses
    }
}

impl fmt::Debug for Dialer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Dialer({}:{})", self.host, self.port)
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn addresses_take_turns_and_those_that_refused_come_last() {
        let mut known = Known::default();
        let [a, b, c] = ["10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"].map(address);
        assert!(known.learn(vec![c, a, b, a]) && !known.learn(vec![b, c, a]));
        let firsts: Vec<_> = (0..6).map(|_| known.in_turn()[0]).collect();
        assert!([a, b, c].iter().all(|one| firsts.iter().filter(|first| *first == one).count() == 2), "{firsts:?}");
        known.refuse(b);
        assert!((0..6).all(|_| known.in_turn()[2] == b));
        assert!(!known.learn(vec![a, b, c]) && (0..3).all(|_| known.in_turn()[2] == b), "it is still away");
        known.forgiven = Some(Instant::now());
        assert!(!known.learn(vec![a, b, c]) && (0..3).any(|_| known.in_turn()[0] == b));
        let many: Vec<_> = (0..100).map(|port| SocketAddr::new(a.ip(), port)).collect();
        assert!(known.learn(many) && known.addresses.len() == MOST_ADDRESSES && known.in_turn().len() == MOST_TRIED);
    }

    #[tokio::test]
    async fn a_name_stands_for_all_of_its_addresses() {
        let [one, other] =
            [TcpListener::bind("127.0.0.1:0").await.unwrap(), TcpListener::bind("127.0.0.1:0").await.unwrap()];
        let [first, second] = [one.local_addr().unwrap(), other.local_addr().unwrap()];
        let dialer = Dialer::new(&Authority::from_static("api.invalid:80"), None, Duration::from_secs(5));
        dialer.lock().learn(vec![first, second]);
        for _ in 0..4 {
            dialer.dial().await.unwrap();
        }
        for listener in [&one, &other] {
            for _ in 0..2 {
                timeout(Duration::from_secs(5), listener.accept()).await.unwrap().unwrap();
            }
        }
        drop(one);
        for _ in 0..4 {
            let (_, origin) = dialer.dial().await.unwrap();
            assert_eq!(origin.address, second);
        }
        drop(other);
        assert_eq!(dialer.dial().await.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
        timeout(Duration::from_secs(5), dialer.moved.notified()).await.expect("it is looked up again");
    }

    #[tokio::test]
    async fn a_name_that_moved_is_left() {
        let dialer = Dialer::new(&Authority::from_static("localhost:80"), None, Duration::from_secs(5));
        let gone = address("192.0.2.1:80");
        dialer.lock().learn(vec![gone]);
        let (mut old, mut kept) = (Origin { address: gone, edition: 0 }, Origin { address: gone, edition: 0 });
        assert!(dialer.still_knows(&mut kept));
        dialer.look_up().await.unwrap();
        assert!(!dialer.still_knows(&mut old), "localhost is not there");
    }
}
