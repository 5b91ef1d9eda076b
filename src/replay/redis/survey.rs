//! The survey: who the masters are, whether each still is the one it was, and since when each remembers.
//!
//! Replication is behind, always: a replica that is promoted has forgotten what was spent last. So a gateway vouches for
//! a memory only from the moment at which it met it, and meets it anew after each restart and each promotion. That moment
//! lies a little ahead: others may still go by the memory before it, and their clocks may be ahead of this one's.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::runtime::Handle;

use super::failure::Failure;
use super::link::{CLOCKS, Dial, Identity, Link};
use super::map::{Asked, LEASE, Map, Node, Slot};
use super::settings::{Address, RedisSettings};
use super::topology::{Directory, Holding};
use crate::clock::Clock;
use crate::time::UnixTime;

/// How much later than the meeting a memory is vouched for: others may go by the one before it for as long as their lease
/// lasts, and what their clocks say may be ahead by twice what they may differ from the store's.
pub(super) const NEWS: Duration = LEASE.saturating_add(CLOCKS);

/// What one gateway knows about its store.
pub(in crate::replay) struct Survey {
    directory: Directory,
    dial: Dial,
    runtimes: Vec<Handle>,
    clock: Arc<dyn Clock>,
    nodes: HashMap<Address, Arc<Node>>,
    /// From when on it vouches for each memory.
    met: HashMap<Identity, UnixTime>,
    /// Who holds each slot. What was known stays known while nobody answers.
    owners: Vec<Option<Owner>>,
    /// Which memory was last seen where.
    seen: HashMap<Address, Identity>,
    /// When it last heard who the masters are.
    heard: Option<Asked>,
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
            seen: HashMap::new(),
            heard: None,
        }
    }

    /// Connects anew, with what these settings of the same store say. What is known of its servers stays known.
    pub(super) fn reach_like(&mut self, settings: &RedisSettings) {
        self.directory.reach_like(settings);
        self.dial = Dial::to_data(settings);
        self.nodes.clear();
    }

    /// Looks around once; at one connection to each master that is known, or at all of them. What was found can be used
    /// even if something else is wrong.
    pub(super) async fn look(&mut self, at_all: bool) -> (Map, Result<(), Failure>) {
        let asked = Asked::at(self.clock.now());
        let holdings = match self.directory.masters().await {
            Ok(holdings) => holdings,
            Err(failure) => {
                self.nodes.clear();
                return (Map::default(), Err(failure));
            }
        };
        // Masters may have taken turns while nobody told. One server has nobody to take turns with.
        let gap = self.heard.replace(asked).is_some_and(|heard| heard.check_lease(self.clock.now()).is_err());
        if gap && !self.directory.is_single() {
            self.owners.fill(None);
            self.met.clear();
            self.nodes.clear();
        }
        let mut wrong = Ok(());
        let known = std::mem::take(&mut self.nodes);
        let visitor = &*self;
        let visits =
            holdings.iter().map(|holding| visitor.visit(&holding.address, known.get(&holding.address), at_all));
        let visits = join_all(visits).await;
        for (visited, holding) in visits.into_iter().zip(&holdings) {
            match visited {
                Ok(node) => drop(self.nodes.insert(node.address.clone(), node)),
                // One that holds nothing, or nothing any more, is missed by nobody.
                Err(_) if holding.slots.is_empty() => {}
                Err(failure) => {
                    if matches!(failure, Failure::Clock(..) | Failure::Evicts(..)) {
                        self.forget(&holding.address);
                    }
                    wrong = Err(failure);
                }
            }
        }
        let map = self.draw(&holdings, asked);
        if wrong.is_ok() && !map.is_complete() {
            wrong = Err(Failure::Uncovered);
        }
        (map, wrong)
    }

    /// What is there is the same process, and may have let go of keys meanwhile.
    fn forget(&mut self, address: &Address) {
        let Some(identity) = self.seen.remove(address) else { return };
        self.met.remove(&identity);
        for owner in self.owners.iter_mut().filter(|owner| owner.as_ref().is_some_and(|o| o.identity == identity)) {
            *owner = None;
        }
    }

    fn draw(&mut self, holdings: &[Holding], asked: Asked) -> Map {
        let now = self.clock.now() + NEWS;
        let (mut nodes, mut held) = (Vec::new(), Vec::new());
        for holding in holdings {
            if let Some(node) = self.nodes.get(&holding.address) {
                nodes.push(Arc::clone(node));
                held.push(&holding.slots);
            }
        }
        let mut slots = vec![None; self.owners.len()].into_boxed_slice();
        // A memory that was met before and is here now: keys came from it in order.
        let here = |identity: &Identity| nodes.iter().any(|node| node.identity == *identity);
        for (index, (node, ranges)) in nodes.iter().zip(held).enumerate() {
            for slot in ranges.iter().cloned().flatten().map(usize::from) {
                let Some(owner) = self.owners.get_mut(slot) else { continue };
                let since = since(owner.as_ref(), &node.identity, self.met.get(&node.identity).copied(), now, here);
                *owner = Some(Owner { identity: node.identity.clone(), since });
                slots[slot] = u16::try_from(index).ok().map(|node| Slot { node, since });
            }
        }
        for node in &nodes {
            self.met.entry(node.identity.clone()).or_insert(node.met);
            self.seen.insert(node.address.clone(), node.identity.clone());
        }
        // A memory that is away keeps its date: it may be the same one when it comes back.
        let owners = &self.owners;
        let is_owner = |identity: &Identity| owners.iter().flatten().any(|owner| owner.identity == *identity);
        self.met.retain(|identity, _| here(identity) || is_owner(identity));
        Map { asked: Some(asked), nodes, slots }
    }

    /// Makes sure of a master: all connections lead to the same memory, and that is good.
    async fn visit(&self, address: &Address, known: Option<&Arc<Node>>, at_all: bool) -> Result<Arc<Node>, Failure> {
        if let Some(node) = known
            && node.links.iter().all(Link::is_open)
        {
            // A connection leads to the same server for as long as it lasts; an address may not.
            let links = if at_all { &node.links[..] } else { node.links.get(..1).unwrap_or_default() };
            let anew = if self.directory.is_single() { self.connect(address, 1).await? } else { Vec::new() };
            let identity = identify(links.iter().chain(&anew), address, &self.clock).await;
            if identity.is_ok_and(|identity| identity == node.identity) {
                return Ok(Arc::clone(node));
            }
        }
        let links = self.connect(address, self.runtimes.len()).await?;
        let identity = identify(links.iter(), address, &self.clock).await?;
        let met = self.met.get(&identity).copied().unwrap_or_else(|| self.clock.now() + NEWS);
        Ok(Arc::new(Node { address: address.clone(), identity, met, links }))
    }

    async fn connect(&self, address: &Address, count: usize) -> Result<Vec<Link>, Failure> {
        let connecting = self.runtimes.iter().take(count).map(|runtime| self.dial.connect(address, runtime));
        join_all(connecting).await.into_iter().collect()
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

async fn identify<'l>(
    links: impl Iterator<Item = &'l Link>,
    address: &Address,
    clock: &Arc<dyn Clock>,
) -> Result<Identity, Failure> {
    let identities = join_all(links.map(|link| link.identify(address, clock))).await;
    let mut identities = identities.into_iter().collect::<Result<Vec<_>, _>>()?.into_iter();
    let first = identities.next().ok_or(Failure::Pending)?;
    // Behind one address there may be a balancer.
    if identities.all(|other| other == first) { Ok(first) } else { Err(Failure::Several(address.clone())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_holds_a_slot_vouches_for_what_it_was_given_since_it_is_known() {
        let memory = Identity::invented;
        let (long_ago, lately, now) = (UnixTime::from_secs(100), UnixTime::from_secs(200), UnixTime::from_secs(300));
        let owner = |name: &str, since| Some(Owner { identity: memory(name), since });
        let vouches =
            |before: Option<Owner>, met, alive: bool| since(before.as_ref(), &memory("a"), met, now, |_| alive);
        for alive in [true, false] {
            // The same as before.
            assert_eq!(vouches(owner("a", long_ago), Some(lately), alive), long_ago);
            assert_eq!(vouches(owner("a", long_ago), None, alive), long_ago);
            // Nobody held it, or one that was met just now has it.
            assert_eq!(vouches(None, Some(long_ago), alive), now);
            assert_eq!(vouches(owner("b", long_ago), None, alive), now);
        }
        // Handed over by a master that lives, in order; by one that is gone, nobody knows how.
        assert_eq!(vouches(owner("b", long_ago), Some(lately), true), lately);
        assert_eq!(vouches(owner("b", lately), Some(long_ago), true), lately);
        assert_eq!(vouches(owner("b", long_ago), Some(lately), false), now);
    }
}
