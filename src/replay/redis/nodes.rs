//! What a node of a cluster says about the others: the answer to `CLUSTER NODES`.

use std::ops::RangeInclusive;

use super::map::SLOTS;
use super::settings::Address;

/// One node's view of its cluster.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct View {
    /// The id of the node that says it.
    pub(super) by: String,
    /// The latest change of masters that it knows of.
    pub(super) epoch: u64,
    /// All masters, those without slots too.
    pub(super) masters: Vec<Master>,
}

/// A master and its slots.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Master {
    pub(super) id: String,
    pub(super) address: Address,
    pub(super) slots: Vec<RangeInclusive<u16>>,
}

impl View {
    /// Reads an answer of the node at `from`; names are used instead of addresses where certificates matter. `None`: it
    /// does not look like one.
    pub(super) fn read(answer: &str, from: &Address, by_name: bool) -> Option<Self> {
        let mut view = Self::default();
        for line in answer.lines() {
            // <id> <ip:port@bus[,name]> <flags> <master> <ping> <pong> <epoch> <link> <slot> <slot> …
            let mut words = line.split(' ');
            let (id, place) = (words.next()?, words.next()?);
            let flags: Vec<&str> = words.next()?.split(',').collect();
            let epoch: u64 = words.by_ref().nth(3)?.parse().ok()?;
            if flags.contains(&"myself") {
                id.clone_into(&mut view.by);
            }
            if !flags.contains(&"master") {
                continue;
            }
            view.epoch = view.epoch.max(epoch);
            let slots = words.skip(1).filter(|word| !word.starts_with('[')).map(slots).collect::<Option<_>>()?;
            view.masters.push(Master { id: id.to_owned(), address: address(place, from, by_name)?, slots });
        }
        (!view.by.is_empty()).then_some(view)
    }

    /// The masters that hold keys: those who decide.
    pub(super) fn deciding(&self) -> impl Iterator<Item = &Master> {
        self.masters.iter().filter(|master| !master.slots.is_empty())
    }
}

fn address(place: &str, from: &Address, by_name: bool) -> Option<Address> {
    let (place, name) = place.split_once(',').unwrap_or((place, ""));
    let (host, port) = place.split('@').next()?.rsplit_once(':')?;
    // Since Redis 7.0 more than a name may follow: `name,shard-id=…`.
    let name = name.split(',').next().filter(|name| by_name && !name.is_empty() && !name.contains('='));
    // A node that nobody met does not know its own address.
    let host = name.or(Some(host).filter(|host| !host.is_empty())).unwrap_or(&from.host);
    Some(Address { host: host.to_owned(), port: port.parse().ok()? })
}

fn slots(word: &str) -> Option<RangeInclusive<u16>> {
    let (first, last) = word.split_once('-').unwrap_or((word, word));
    let range: RangeInclusive<u16> = first.parse().ok()?..=last.parse().ok()?;
    (*range.end() < SLOTS && !range.is_empty()).then_some(range)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn from() -> Address {
        Address { host: "seed".to_owned(), port: 7000 }
    }

    #[test]
    fn an_answer_of_redis_7_is_understood() {
        let answer = "\
            07c3 127.0.0.1:30004@31004,hostname4 slave e7d1 0 1426238317239 4 connected\n\
            67ed 127.0.0.1:30002@31002,hostname2,shard-id=9 master - 0 1426238316232 2 connected 5461-10922\n\
            292f ::1:30003@31003,,shard-id=8 master - 0 1426238318243 3 connected 10923-16383 [5461->-07c3]\n\
            6ec2 127.0.0.1:30005@31005 slave,fail 67ed 0 1426238316232 9 connected\n\
            8240 127.0.0.1:30006@31006 master,fail - 0 1426238316232 7 disconnected\n\
            e7d1 :30001@31001 myself,master - 0 0 1 connected 0-5459 5460\n";
        let address = |host: &str, port| Address { host: host.to_owned(), port };
        for (by_name, second) in [(false, "127.0.0.1"), (true, "hostname2")] {
            let view = View::read(answer, &from(), by_name).unwrap();
            assert_eq!((view.by.as_str(), view.epoch), ("e7d1", 7));
            let masters: Vec<_> =
                view.masters.iter().map(|m| (m.id.as_str(), m.address.clone(), m.slots.clone())).collect();
            assert_eq!(
                masters,
                [
                    ("67ed", address(second, 30002), vec![5461..=10922]),
                    ("292f", address("::1", 30003), vec![10923..=16383]),
                    ("8240", address("127.0.0.1", 30006), vec![]),
                    ("e7d1", address("seed", 30001), vec![0..=5459, 5460..=5460]),
                ]
            );
            assert_eq!(view.deciding().count(), 3);
        }
    }

    #[test]
    fn what_makes_no_sense_is_no_view() {
        for answer in [
            "",
            "e7d1 127.0.0.1:1@2 master - 0 0 1 connected 0-16383",
            "e7d1 127.0.0.1:1@2 myself,master - 0 0 1 connected 0-16384",
            "e7d1 127.0.0.1:1@2 myself,master - 0 0 1 connected 9-3",
            "e7d1 127.0.0.1:x@2 myself,master - 0 0 1 connected",
            "e7d1 127.0.0.1:1@2 myself,master - 0 0 x connected",
            "e7d1 127.0.0.1:1@2 myself,master",
        ] {
            assert_eq!(View::read(answer, &from(), false), None, "{answer}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_a_panic(answer in "\\PC{0,80}( \\PC{0,10}){0,9}") {
            let _ = View::read(&answer, &from(), true);
        }
    }
}
