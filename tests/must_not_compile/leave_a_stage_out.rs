//! A verified token does not authorize: possession must be proven and the proof spent first.
use keybound::authorize::{Authorized, Bound, Presented, Verified};
use keybound::replay::MemoryLog;
use keybound::time::UnixTime;

fn without_possession<B>(verified: Verified<B>, log: &MemoryLog, now: UnixTime) -> Authorized<B> {
    verified.spend(log, now).unwrap().authorize(now).unwrap()
}

fn without_token<B>(presented: Presented<B>, log: &MemoryLog, now: UnixTime) -> Authorized<B> {
    presented.spend(log, now).unwrap().authorize(now).unwrap()
}

fn without_spending<B>(bound: Bound<B>, now: UnixTime) -> Authorized<B> {
    bound.authorize(now).unwrap()
}

fn main() {}
