//! A verified token does not authorize: possession must be proven, the limits asked and the proof spent first.
use keybound::authorize::{Admitted, Authorized, Bound, Presented, Verified};
use keybound::replay::ReplayLog;
use keybound::time::UnixTime;

async fn without_possession<B>(verified: Verified<B>, log: &ReplayLog, now: UnixTime) -> Authorized<B> {
    verified.spend(log, now).await.unwrap().authorize(now).unwrap()
}

async fn without_token<B>(presented: Presented<B>, log: &ReplayLog, now: UnixTime) -> Authorized<B> {
    presented.spend(log, now).await.unwrap().authorize(now).unwrap()
}

async fn without_limits<B>(bound: Bound<B>, log: &ReplayLog, now: UnixTime) -> Authorized<B> {
    bound.spend(log, now).await.unwrap().authorize(now).unwrap()
}

fn without_spending<B>(admitted: Admitted<B>, now: UnixTime) -> Authorized<B> {
    admitted.authorize(now).unwrap()
}

fn main() {}
