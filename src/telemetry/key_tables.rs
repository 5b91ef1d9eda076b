//! What the tables of keys did.

use prometheus::{IntCounter, IntCounterVec, IntGauge, Registry};

use super::families::{counter, counters, gauge};

/// The tables as a scrape finds them; all zero where there are none.
#[derive(Debug, Default, Clone, Copy)]
pub struct KeyTablesReading {
    /// Keys that have one.
    pub tables: u64,
    /// Bytes of memory.
    pub bytes: u64,
    /// ES256 signatures by what accepted or refused them.
    pub verifications: [(&'static str, u64); 2],
    /// Tables built.
    pub builds: u64,
    /// Tables that made room for others.
    pub evictions: u64,
    /// Signatures that were checked twice, by what came of it.
    pub audits: [(&'static str, u64); 3],
}

#[derive(Clone)]
pub(super) struct KeyTables {
    tables: IntGauge,
    bytes: IntGauge,
    verifications: IntCounterVec,
    builds: IntCounter,
    evictions: IntCounter,
    audits: IntCounterVec,
}

impl KeyTables {
    pub(super) fn new(r: &Registry) -> prometheus::Result<Self> {
        Ok(Self {
            tables: gauge(r, "key_tables", "Keys that have a table.")?,
            bytes: gauge(r, "key_table_bytes", "Memory of the tables of keys.")?,
            verifications: counters(r, "es256_verifications_total", "ES256 signatures of tokens and proofs.", &["by"])?,
            builds: counter(r, "key_table_builds_total", "Tables of keys built.")?,
            evictions: counter(r, "key_table_evictions_total", "Tables of keys that made room for others.")?,
            audits: counters(r, "key_table_audits_total", "Signatures checked with and without a table.", &["result"])?,
        })
    }

    pub(super) fn read_off(&self, reading: &KeyTablesReading) {
        self.tables.set(i64::try_from(reading.tables).unwrap_or(i64::MAX));
        self.bytes.set(i64::try_from(reading.bytes).unwrap_or(i64::MAX));
        let raise = |counter: &IntCounter, total: u64| counter.inc_by(total.saturating_sub(counter.get()));
        raise(&self.builds, reading.builds);
        raise(&self.evictions, reading.evictions);
        for (by, total) in reading.verifications {
            raise(&self.verifications.with_label_values(&[by]), total);
        }
        for (result, total) in reading.audits {
            raise(&self.audits.with_label_values(&[result]), total);
        }
    }
}
