//! Who would be refused on a route that only observes, and why: what an operator has to settle before it enforces.
//!
//! Kept in memory, within fixed bounds, from the start of the process. A client is called by the `client_id` or `sub` of
//! its token where that token holds, and by its address where nothing else is known of it.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use serde_json::{Value, json};

use crate::refusal::{Reason, shown};
use crate::time::UnixTime;
use crate::verify::AccessToken;

/// Rows that are kept; what comes after is only counted.
const ROWS: usize = 2000;

/// One request that passed and would have been refused.
#[derive(Debug)]
pub struct Observed<'a> {
    /// The name of its route.
    pub route: &'a str,
    /// Why it would have been refused.
    pub reason: Reason,
    /// Its token, if that holds.
    pub token: Option<&'a AccessToken>,
    /// Whose address it came from.
    pub client: IpAddr,
}

#[derive(Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Clone)]
struct Who {
    route: String,
    client: String,
    reason: &'static str,
}

#[derive(Debug)]
struct Row {
    requests: u64,
    first: UnixTime,
    last: UnixTime,
}

/// All of them.
#[derive(Debug, Default)]
pub struct Observations {
    rows: Mutex<Rows>,
}

#[derive(Debug, Default)]
struct Rows {
    known: HashMap<Who, Row>,
    /// Requests of clients that found no room any more.
    beyond: u64,
}

impl Observations {
    /// Notes one.
    pub fn note(&self, observed: &Observed<'_>, now: UnixTime) {
        let who = Who {
            route: observed.route.to_owned(),
            client: client(observed.token, observed.client),
            reason: observed.reason.slug(),
        };
        let mut rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        let full = rows.known.len() >= ROWS;
        match rows.known.get_mut(&who) {
            Some(row) => {
                row.requests += 1;
                row.last = now;
            }
            None if full => rows.beyond += 1,
            None => {
                rows.known.insert(who, Row { requests: 1, first: now, last: now });
            }
        }
    }

    /// The report: for each route, client and reason the number of requests and when they came, the most frequent first.
    pub fn report(&self) -> Value {
        let rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        let mut sorted: Vec<(&Who, &Row)> = rows.known.iter().collect();
        sorted.sort_by(|(a, one), (b, other)| other.requests.cmp(&one.requests).then_with(|| a.cmp(b)));
        let row = |(who, row): (&Who, &Row)| {
            json!({
                "route": who.route,
                "client": who.client,
                "reason": who.reason,
                "requests": row.requests,
                "first": row.first.secs(),
                "last": row.last.secs(),
            })
        };
        json!({ "would_be_refused": sorted.into_iter().map(row).collect::<Vec<_>>(), "beyond": rows.beyond })
    }
}

fn client(token: Option<&AccessToken>, address: IpAddr) -> String {
    let subject =
        |token: &AccessToken| token.claim("sub").and_then(Value::as_str).map(|sub| format!("sub {}", shown(sub)));
    let named = token
        .and_then(|token| token.client_id().map(|id| format!("client_id {}", shown(id))).or_else(|| subject(token)));
    named.unwrap_or_else(|| format!("address {address}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_counted_and_bounded() {
        let observations = Observations::default();
        let (now, later) = (UnixTime::from_secs(1000), UnixTime::from_secs(1010));
        let note = |address: [u8; 4], reason, at| {
            let observed = Observed { route: "api", reason, token: None, client: address.into() };
            observations.note(&observed, at);
        };
        note([10, 0, 0, 1], Reason::ProofMissing, now);
        for _ in 0..2 {
            note([10, 0, 0, 2], Reason::TokenUnbound, later);
        }
        let report = observations.report();
        let first = &report["would_be_refused"][0];
        assert_eq!((&first["client"], &first["requests"]), (&json!("address 10.0.0.2"), &json!(2)));
        assert_eq!(report["would_be_refused"][1]["reason"], "proof_missing");
        for index in 0..3000_u16 {
            let [high, low] = index.to_be_bytes();
            note([10, 1, high, low], Reason::ProofMissing, now);
        }
        let report = observations.report();
        assert_eq!(report["would_be_refused"].as_array().map(Vec::len), Some(ROWS));
        assert_eq!(report["beyond"], json!(3000 + 2 - ROWS));
    }
}
