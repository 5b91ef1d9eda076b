//! Who the masters are: asked anew at every survey, and believed only when more than half of the Sentinels agree, or more
//! than half of a cluster's masters answer.
//!
//! A master that was cut off, or stood still while another took its place, believes itself to be one for a while. Who
//! listened to it alone would spend proofs in a memory that nobody shares any more.

use std::collections::HashMap;
use std::ops::RangeInclusive;

use futures_util::future::join_all;
use tokio::runtime::Handle;

use super::failure::Failure;
use super::link::{Dial, Link};
use super::map::SLOTS;
use super::nodes::View;
use super::settings::{Address, RedisSettings, Topology};

/// A master and the slots it holds.
pub(super) struct Holding {
    pub(super) address: Address,
    pub(super) slots: Vec<RangeInclusive<u16>>,
}

/// Whom to ask, with the connections to them.
pub(super) struct Directory {
    topology: Topology,
    dial: Dial,
    by_name: bool,
    seeds: Vec<Address>,
    /// The masters of the last answer, which know more than seeds may.
    known: Vec<Address>,
    links: HashMap<Address, Link>,
    runtime: Handle,
}

impl Directory {
    /// Everything that it connects to is driven by `runtime`.
    pub(super) fn new(settings: &RedisSettings, runtime: Handle) -> Self {
        Self {
            topology: settings.topology.clone(),
            dial: dial(settings),
            by_name: settings.tls.is_some(),
            seeds: settings.servers.clone(),
            known: Vec::new(),
            links: HashMap::new(),
            runtime,
        }
    }

    /// Connects anew, with what these settings of the same store say.
    pub(super) fn reach_like(&mut self, settings: &RedisSettings) {
        self.dial = dial(settings);
        self.links.clear();
    }

    /// Whether there is nobody who could take a master's place under another address.
    pub(super) const fn is_single(&self) -> bool {
        matches!(self.topology, Topology::Single)
    }

    /// How many slots the store has.
    pub(super) const fn slots(&self) -> u16 {
        match self.topology {
            Topology::Single | Topology::Sentinel { .. } => 1,
            Topology::Cluster => SLOTS,
        }
    }

    /// The masters of now.
    pub(super) async fn masters(&mut self) -> Result<Vec<Holding>, Failure> {
        match &self.topology {
            Topology::Single => Ok(self
                .seeds
                .iter()
                .take(1)
                .map(|address| Holding { address: address.clone(), slots: vec![0..=0] })
                .collect()),
            Topology::Sentinel { master, .. } => {
                let mut question = redis::cmd("SENTINEL");
                question.arg("GET-MASTER-ADDR-BY-NAME").arg(master);
                self.named_master(&question).await
            }
            Topology::Cluster => self.cluster().await,
        }
    }

    async fn named_master(&mut self, question: &redis::Cmd) -> Result<Vec<Holding>, Failure> {
        let answers = self.ask::<Option<(String, u16)>>(self.seeds.clone(), question).await;
        elected(answers.into_iter().map(|(_, answer)| answer), self.seeds.len())
    }

    /// The view of the node that knows of the latest change, if more than half of the masters in it were heard.
    async fn cluster(&mut self) -> Result<Vec<Holding>, Failure> {
        let mut question = redis::cmd("CLUSTER");
        question.arg("NODES");
        let mut views: Vec<View> = Vec::new();
        let (mut asked, mut failure) = (Vec::new(), None);
        let mut next: Vec<Address> = self.seeds.iter().chain(&self.known).cloned().collect();
        // Seeds may be a few of many: who is named by them is asked in the second round.
        for _ in 0..2 {
            next.sort_unstable();
            next.dedup();
            next.retain(|address| !asked.contains(address));
            asked.extend(next.iter().cloned());
            for (from, answer) in self.ask::<String>(std::mem::take(&mut next), &question).await {
                match answer.map(|text| View::read(&text, &from, self.by_name)) {
                    Ok(Some(view)) => views.push(view),
                    Ok(None) => failure = Some(Failure::Puzzling(from, "an unknown form of CLUSTER NODES")),
                    Err(error) => failure = Some(error),
                }
            }
            let Some(latest) = views.iter().max_by_key(|view| view.epoch) else { break };
            next = latest.masters.iter().map(|master| master.address.clone()).collect();
        }
        if views.is_empty() {
            return Err(failure.unwrap_or(Failure::Pending));
        }
        let latest = believed(views)?;
        self.known = latest.masters.iter().map(|master| master.address.clone()).collect();
        let wanted = |address: &Address| self.known.contains(address) || self.seeds.contains(address);
        self.links.retain(|address, _| wanted(address));
        Ok(latest.masters.into_iter().map(|master| Holding { address: master.address, slots: master.slots }).collect())
    }

    /// Asks all of them at once.
    async fn ask<T: redis::FromRedisValue>(
        &mut self,
        whom: Vec<Address>,
        question: &redis::Cmd,
    ) -> Vec<(Address, Result<T, Failure>)> {
        let asking = whom.into_iter().map(|address| {
            let (kept, dial, runtime) = (self.links.remove(&address), self.dial.clone(), self.runtime.clone());
            async move {
                let outcome = match kept {
                    Some(link) => Ok(link),
                    None => dial.connect(&address, &runtime).await,
                };
                let (link, answer) = match outcome {
                    Ok(link) => {
                        let answer = link.ask(&address, question).await;
                        (Some(link), answer)
                    }
                    Err(failure) => (None, Err(failure)),
                };
                (address, link, answer)
            }
        });
        let mut answers = Vec::new();
        for (address, link, answer) in join_all(asking).await {
            // Who did not answer is met anew next time.
            if let (Some(link), true) = (link, answer.is_ok()) {
                self.links.insert(address.clone(), link);
            }
            answers.push((address, answer));
        }
        answers
    }
}

fn dial(settings: &RedisSettings) -> Dial {
    match &settings.topology {
        Topology::Sentinel { credentials, .. } => Dial::to_control(settings, credentials),
        Topology::Single | Topology::Cluster => Dial::to_control(settings, &settings.credentials),
    }
}

/// The master that more than half of all Sentinels name.
fn elected(
    answers: impl Iterator<Item = Result<Option<(String, u16)>, Failure>>,
    of: usize,
) -> Result<Vec<Holding>, Failure> {
    let mut votes: HashMap<(String, u16), usize> = HashMap::new();
    let mut failure = None;
    for answer in answers {
        match answer {
            Ok(Some(named)) => *votes.entry(named).or_default() += 1,
            Ok(None) => failure = Some(Failure::Pending),
            Err(error) => failure = Some(error),
        }
    }
    match votes.into_iter().max_by_key(|(_, votes)| *votes) {
        Some(((host, port), votes)) if votes * 2 > of => {
            Ok(vec![Holding { address: Address { host, port }, slots: vec![0..=0] }])
        }
        Some((_, answers)) => Err(Failure::Minority { answers, of, what: "Sentinels" }),
        None => Err(match failure {
            Some(Failure::Pending) | None => {
                let what = "Sentinels that know a master of the configured name";
                Failure::Minority { answers: 0, of, what }
            }
            Some(failure) => failure,
        }),
    }
}

/// The view that knows of the latest change, if more than half of the masters in it were heard.
fn believed(views: Vec<View>) -> Result<View, Failure> {
    let heard: Vec<String> = views.iter().map(|view| view.by.clone()).collect();
    let latest = views.into_iter().max_by_key(|view| view.epoch).ok_or(Failure::Pending)?;
    let of = latest.deciding().count();
    let answers = latest.deciding().filter(|master| heard.contains(&master.id)).count();
    if answers * 2 > of { Ok(latest) } else { Err(Failure::Minority { answers, of, what: "masters of the cluster" }) }
}

#[cfg(test)]
mod tests {
    use super::super::nodes::Master;
    use super::*;

    /// What the node `by` says of `masters`, of which `idle` hold no slots.
    fn view(by: &str, epoch: u64, masters: &[&str], idle: &[&str]) -> View {
        let master = |(id, slots): (&&str, Vec<RangeInclusive<u16>>)| Master {
            id: (*id).to_owned(),
            address: Address { host: (*id).to_owned(), port: 6379 },
            slots,
        };
        let deciding = masters.iter().map(|id| (id, vec![0..=1]));
        let masters = deciding.chain(idle.iter().map(|id| (id, Vec::new()))).map(master).collect();
        View { by: by.to_owned(), epoch, masters }
    }

    #[test]
    fn who_is_named_by_a_minority_of_all_sentinels_is_no_master() {
        let said = |names: &[&str], of| {
            let slow = || Err(Failure::Slow(std::time::Duration::from_secs(1)));
            let answers = names.iter().map(|name| match *name {
                "" => Ok(None),
                "slow" => slow(),
                host => Ok(Some((host.to_owned(), 6379))),
            });
            elected(answers, of).map(|mut holdings| holdings.pop().unwrap().address.host)
        };
        for (names, of) in [(&["a", "a"][..], 3), (&["b", "a", "a"], 3), (&["a", "a", "a", ""], 4), (&["a"], 1)] {
            assert_eq!(said(names, of).unwrap(), "a", "{names:?} of {of}");
        }
        // Half of them are not more than half, and who does not answer agrees with nobody.
        for (names, of, most) in
            [(&["a", "b"][..], 2, 1), (&["a", "a", "slow", ""], 4, 2), (&["a"], 3, 1), (&[""], 1, 0)]
        {
            let outcome = said(names, of);
            assert!(matches!(outcome, Err(Failure::Minority { answers, of: all, .. }) if (answers, all) == (most, of)));
        }
        assert!(matches!(said(&["slow", "slow"], 2), Err(Failure::Slow(_))));
    }

    /// Those who were cut off do not know that others took their places; each of them still thinks that it is a master.
    #[test]
    fn a_minority_of_a_cluster_is_not_believed() {
        let (three, four) = (["a", "b", "c"], ["a", "b", "c", "d"]);
        let said = |by: &[&str], masters: &[&str], idle: &[&str]| {
            believed(by.iter().map(|by| view(by, 1, masters, idle)).collect()).map(|view| view.by)
        };
        assert!(matches!(said(&["c"], &three, &[]), Err(Failure::Minority { answers: 1, of: 3, .. })));
        assert!(matches!(said(&["c", "d"], &four, &[]), Err(Failure::Minority { answers: 2, of: 4, .. })));
        // Replicas, and masters that hold nothing, decide nothing.
        for others in [["r", "s"], ["x", "y"]] {
            let by = [&["a"][..], &others].concat();
            assert!(matches!(said(&by, &three, &["x", "y"]), Err(Failure::Minority { answers: 1, of: 3, .. })));
        }
        assert!(said(&["b", "c"], &three, &["x", "y"]).is_ok() && said(&["b", "c", "d"], &four, &[]).is_ok());
        assert!(matches!(believed(Vec::new()), Err(Failure::Pending)));
    }

    #[test]
    fn who_knows_of_the_latest_change_is_believed() {
        let (before, after) = (["a", "b", "c"], ["a", "b", "d"]);
        let views = vec![view("a", 3, &before, &[]), view("b", 4, &after, &[]), view("c", 3, &before, &[])];
        assert_eq!(believed(views).map(|view| view.by).unwrap(), "b");
        // The one who was replaced does not count for the others.
        let views = vec![view("c", 3, &before, &[]), view("b", 4, &after, &[])];
        assert!(matches!(believed(views), Err(Failure::Minority { answers: 1, of: 3, .. })));
    }
}
