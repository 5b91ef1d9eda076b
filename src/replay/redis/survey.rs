//! The survey: who the masters are, whether each still is the one it was, and since when each remembers.
//!
//! Replication is behind, always: a replica that is promoted has forgotten what was spent last. So a gateway vouches for
//! a memory only from the moment at which it met it, and meets it anew after each restart and each promotion.

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::future::join_all;
use tokio::runtime::Handle;

use super::failure::Failure;
use super::link::{Dial, Identity, Link};
use super::map::{Map, Node, Slot};
use super::settings::{Address, RedisSettings};
use super::topology::{Directory, Holding};
use crate::clock::Clock;
use crate::time::UnixTime;

/// What one gateway knows about its store.
pub(super) struct Survey {
    directory: Directory,
    dial: Dial,
    runtimes: Vec<Handle>,
    clock: Arc<dyn Clock>,
    nodes: HashMap<Address, Arc<Node>>,
    /// When it met each memory.
    met: HashMap<Identity, UnixTime>,
    /// Who holds each slot. What was known stays known while nobody answers.
    owners: Vec<Option<Owner>>,
}

#[derive(Clone, PartialEq, Eq)]
struct Owner {
    identity: Identity,
    since: UnixTime,
}

impl Survey {
    pub(super) fn new(settings: &RedisSettings, runtimes: Vec<Handle>, clock: Arc<dyn Clock>) -> Self {
        let directory = Directory::new(settings, Handle::current());
        let owners = vec![None; usize::from(directory.slots())];
        Self {
            directory,
            dial: Dial::to_data(settings),
            runtimes,
            clock,
            nodes: HashMap::new(),
            met: HashMap::new(),
            owners,
        }
    }

    /// Looks around once. What was found can be used even if something else is wrong.
    pub(super) async fn look(&mut self) -> (Map, Result<(), Failure>) {
        let holdings = match self.directory.masters().await {
            Ok(holdings) => holdings,
            Err(failure) => {
                self.nodes.clear();
                return (Map::default(), Err(failure));
            }
        };
        let mut wrong = Ok(());
        let known = std::mem::take(&mut self.nodes);
        let (dial, clock, runtimes) = (&self.dial, &self.clock, &self.runtimes);
        let visits =
            holdings.iter().map(|holding| visit(&holding.address, known.get(&holding.address), dial, runtimes, clock));
        for (visited, holding) in join_all(visits).await.into_iter().zip(&holdings) {
            match visited {
                Ok(node) => drop(self.nodes.insert(node.address.clone(), node)),
                // One that holds nothing, or nothing any more, is missed by nobody.
                Err(_) if holding.slots.is_empty() => {}
                Err(failure) => wrong = Err(failure),
            }
        }
        let map = self.draw(&holdings);
        if wrong.is_ok() && !map.is_complete() {
            wrong = Err(Failure::Uncovered);
        }
        (map, wrong)
    }

    fn draw(&mut self, holdings: &[Holding]) -> Map {
        let now = self.clock.now();
        let nodes: Vec<Arc<Node>> =
            holdings.iter().filter_map(|holding| self.nodes.get(&holding.address)).cloned().collect();
        let mut slots = vec![None; self.owners.len()].into_boxed_slice();
        // A memory that was met before and is here now: keys came from it in order.
        let here = |identity: &Identity| nodes.iter().any(|node| node.identity == *identity);
        for (index, node) in nodes.iter().enumerate() {
            let Some(holding) = holdings.iter().find(|holding| holding.address == node.address) else { continue };
            for slot in holding.slots.iter().cloned().flatten().map(usize::from) {
                let Some(owner) = self.owners.get_mut(slot) else { continue };
                let since = since(owner.as_ref(), &node.identity, self.met.get(&node.identity).copied(), now, here);
                *owner = Some(Owner { identity: node.identity.clone(), since });
                slots[slot] = u16::try_from(index).ok().map(|node| Slot { node, since });
            }
        }
        // A memory that is away keeps its date: it may be the same one when it comes back.
        for node in &nodes {
            self.met.entry(node.identity.clone()).or_insert(now);
        }
        Map { nodes, slots }
    }
}

/// Since when the present owner of a slot can vouch for its keys.
fn since(
    before: Option<&Owner>,
    identity: &Identity,
    met: Option<UnixTime>,
    now: UnixTime,
    here: impl Fn(&Identity) -> bool,
) -> UnixTime {
    match (before, met) {
        (Some(owner), _) if owner.identity == *identity => owner.since,
        // Handed over by a master that lives: a cluster moves keys before it moves the slot.
        (Some(owner), Some(met)) if here(&owner.identity) => owner.since.max(met),
        _ => now,
    }
}

/// Makes sure of a master: all connections lead to the same memory, and that is good.
async fn visit(
    address: &Address,
    known: Option<&Arc<Node>>,
    dial: &Dial,
    runtimes: &[Handle],
    clock: &Arc<dyn Clock>,
) -> Result<Arc<Node>, Failure> {
    if let Some(node) = known
        && identify(&node.links, address, clock).await.is_ok_and(|identity| identity == node.identity)
    {
        return Ok(Arc::clone(node));
    }
    let connecting = join_all(runtimes.iter().map(|runtime| dial.connect(address, runtime))).await;
    let links: Vec<Link> = connecting.into_iter().collect::<Result<_, _>>()?;
    let identity = identify(&links, address, clock).await?;
    Ok(Arc::new(Node { address: address.clone(), identity, links }))
}

async fn identify(links: &[Link], address: &Address, clock: &Arc<dyn Clock>) -> Result<Identity, Failure> {
    let identities = join_all(links.iter().map(|link| link.identify(address, clock))).await;
    let mut identities = identities.into_iter().collect::<Result<Vec<_>, _>>()?.into_iter();
    let first = identities.next().ok_or(Failure::Pending)?;
    // Behind one address there may be a balancer.
    if identities.all(|other| other == first) { Ok(first) } else { Err(Failure::Several(address.clone())) }
}
