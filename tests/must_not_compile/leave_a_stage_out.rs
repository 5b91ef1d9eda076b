//! A verified token does not authorize: possession must be proven first.
use keybound::authorize::{Authorized, Presented, Verified};
use keybound::replay::MemoryLog;
use keybound::time::UnixTime;

fn without_possession<B>(verified: Verified<B>, log: &MemoryLog, now: UnixTime) -> Authorized<B> {
    verified.authorize(log, now).unwrap()
}

fn without_token<B>(presented: Presented<B>, log: &MemoryLog, now: UnixTime) -> Authorized<B> {
    presented.authorize(log, now).unwrap()
}

fn main() {}
