//! How a gateway does, for load balancers, people and metrics.

use super::state::Gateway;
use crate::introspect::IntrospectorStatus;
use crate::replay::StoreStatus;
use crate::telemetry::{IntrospectionReading, KeyTablesReading, Snapshot, StoreReading};
use crate::tokens::KeyTableReading;

/// Whether requests should be sent here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Readiness {
    /// Yes. The notes say what is degraded, in words.
    Ready(Vec<String>),
    /// No, and why.
    NotReady(Vec<String>),
}

impl Gateway {
    /// Whether requests should be sent here: every issuer's keys were loaded once, the replay log's restart fence
    /// lies in the past, its store is vouched for, and nobody announced the end. A gateway that was ready once stays so without the
    /// keys of an issuer that is new, or read from elsewhere, as long as it has those of another, and tells in words.
    pub fn readiness(&self) -> Readiness {
        let mut missing = Vec::new();
        if self.lasting.is_draining() {
            missing.push("draining: this process is about to end".to_owned());
        }
        if self.lasting.is_in_its_first_second(self.clock.now()) {
            missing.push("starting: proofs of this second may have been spent before".to_owned());
        }
        let mut notes = Vec::new();
        match self.lasting.replay.store() {
            Some(StoreStatus { trouble: Some(trouble), ready: true, .. }) => {
                notes.push(format!("degraded: replay store: {trouble}"));
            }
            Some(StoreStatus { trouble: Some(trouble), .. }) => missing.push(format!("replay store: {trouble}")),
            Some(StoreStatus { ready: false, .. }) => {
                missing.push(
                    "starting: the replay store was just met; proofs of now may have been spent before".to_owned(),
                );
            }
            Some(_) | None => {}
        }
        let issuers = self.issuers.status();
        let nobody_is_known = !issuers.is_empty() && issuers.iter().all(|status| status.keys == 0);
        for status in issuers {
            if status.keys == 0 && (nobody_is_known || !self.lasting.was_ready()) {
                missing.push(format!("issuer {status}"));
            } else if status.keys == 0 || status.last_error.is_some() {
                notes.push(format!("degraded: issuer {status}"));
            }
        }
        for status in self.tokens.introspectors().status() {
            if let Some(error) = status.last_error {
                notes.push(format!("degraded: introspection at {}: {error}", status.issuer));
            }
        }
        notes.extend(self.forwarder.troubles());
        if missing.is_empty() { Readiness::Ready(notes) } else { Readiness::NotReady(missing) }
    }

    /// What metrics read off at a scrape; the listeners' certificates are known elsewhere.
    pub fn snapshot(&self) -> Snapshot {
        let (token_hits, token_misses) = self.tokens.hits_and_misses();
        let issuers = self.issuers.status();
        let keys = issuers.iter().map(|status| (status.issuer.clone(), status.keys)).collect();
        let ages = issuers.into_iter();
        Snapshot {
            replay_entries: self.lasting.replay.entries(),
            replay_store: self.lasting.replay.store().map(|store| StoreReading {
                outages: store.outages,
                errors: store.errors,
                local: store.local,
                available: store.trouble.is_none(),
            }),
            clock_jumps: self.lasting.jumps(),
            token_hits,
            token_misses,
            key_tables: tables_reading(&self.tokens.key_tables()),
            introspection: self.tokens.introspectors().status().into_iter().map(reading).collect(),
            upstreams: self.forwarder.status().map(|it| (it.upstream, it.endpoint, it.used)).collect(),
            jwks_keys: keys,
            jwks_ages: ages.filter_map(|status| Some((status.issuer, status.age?.as_secs_f64()))).collect(),
            certificate_expiries: Vec::new(),
        }
    }
}

fn tables_reading(read: &KeyTableReading) -> KeyTablesReading {
    KeyTablesReading {
        tables: read.tables,
        bytes: read.bytes,
        verifications: [("table", read.by_table), ("library", read.by_library)],
        builds: read.built,
        evictions: read.evicted,
        audits: [
            ("agreed", read.agreed),
            ("falsely_accepted", read.falsely_accepted),
            ("falsely_refused", read.falsely_refused),
        ],
    }
}

fn reading(status: IntrospectorStatus) -> IntrospectionReading {
    IntrospectionReading {
        issuer: status.issuer,
        results: [("active", status.active), ("inactive", status.inactive), ("unavailable", status.unavailable)],
        hits: status.hits,
        misses: status.misses,
    }
}
