//! One look at the store, as a gateway that starts would meet it, and with words for each thing that may be wrong; for
//! whoever checks a deployment.

use std::sync::Arc;

use futures_util::future::join_all;
use tokio::runtime::Handle;

use super::failure::Failure;
use super::link::{Dial, Link, PATIENCE, clock_off, field};
use super::settings::{Address, RedisSettings};
use super::topology::Directory;
use crate::clock::Clock;

/// What the store is like.
#[derive(Debug)]
pub struct Examination {
    /// Each master, and what it says of itself, or why it says nothing.
    pub servers: Vec<(Address, Result<Server, String>)>,
    /// How many slots have a master, of how many; a store that is no cluster has one.
    pub slots: (usize, usize),
}

/// What one server says of itself.
#[derive(Debug)]
pub struct Server {
    /// As in `redis_version`.
    pub version: String,
    /// `master`, or something else.
    pub role: String,
    /// In bytes; 0: no bound.
    pub maxmemory: u64,
    /// `maxmemory-policy`.
    pub policy: String,
    /// How far its clock is ahead of ours, at least, in seconds.
    pub clock_off: f64,
    /// Whether it takes a key as the gateway enters them; why not, in words.
    pub takes_keys: Result<(), String>,
}

/// Finds the masters and asks each. Enters one key that expires at once.
///
/// # Errors
/// The masters cannot be found.
pub async fn examine(settings: &RedisSettings, clock: &Arc<dyn Clock>) -> Result<Examination, String> {
    let mut directory = Directory::new(settings, Handle::current());
    let holdings = directory.masters().await.map_err(|failure| failure.to_string())?;
    let held = holdings.iter().flat_map(|holding| holding.slots.iter().cloned().flatten()).count();
    let dial = Dial::to_data(settings);
    let servers = join_all(holdings.iter().filter(|holding| !holding.slots.is_empty()).map(|holding| {
        let dial = &dial;
        async move {
            let server = server(dial, &holding.address, settings, clock).await;
            (holding.address.clone(), server.map_err(|failure| failure.to_string()))
        }
    }));
    Ok(Examination { servers: servers.await, slots: (held, usize::from(directory.slots())) })
}

async fn server(
    dial: &Dial,
    address: &Address,
    settings: &RedisSettings,
    clock: &Arc<dyn Clock>,
) -> Result<Server, Failure> {
    let link = dial.connect(address, &Handle::current()).await?;
    let mut questions = redis::pipe();
    for section in ["server", "replication", "memory"] {
        questions.cmd("INFO").arg(section);
    }
    questions.cmd("TIME");
    let asked = clock.now();
    let answers = tokio::time::timeout(PATIENCE, questions.query_async(&mut link.connection())).await;
    let answered = clock.now();
    let answers: (String, String, String, (i64, i64)) =
        answers.map_err(|_| Failure::Slow(PATIENCE))?.map_err(|error| Failure::of(address, &error))?;
    let (server, replication, memory, time) = answers;
    let said = |info, name| field(info, name).unwrap_or("unknown").to_owned();
    Ok(Server {
        version: said(&server, "redis_version"),
        role: said(&replication, "role"),
        maxmemory: field(&memory, "maxmemory").and_then(|bytes| bytes.parse().ok()).unwrap_or_default(),
        policy: said(&memory, "maxmemory_policy"),
        clock_off: clock_off(asked, time, answered),
        takes_keys: takes_keys(&link, address, settings, clock).await,
    })
}

/// The command that enters a proof. In a cluster the key may be another server's, which is an answer as good.
async fn takes_keys(
    link: &Link,
    address: &Address,
    settings: &RedisSettings,
    clock: &Arc<dyn Clock>,
) -> Result<(), String> {
    let mut command = redis::cmd("SET");
    let until = clock.now() + PATIENCE;
    command.arg(format!("{}doctor", settings.key_prefix)).arg(1).arg("NX").arg("PXAT").arg(until.millis());
    let answer = tokio::time::timeout(PATIENCE, command.query_async::<redis::Value>(&mut link.connection())).await;
    match answer {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) if super::failure::is_moved(&error) || super::failure::is_ask(&error) => Ok(()),
        Ok(Err(error)) => Err(Failure::of(address, &error).to_string()),
        Err(_) => Err(Failure::Slow(PATIENCE).to_string()),
    }
}
