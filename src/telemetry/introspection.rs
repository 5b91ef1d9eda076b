//! What issuers said of opaque tokens.

use prometheus::{IntCounterVec, Registry};

use super::families::counters;

/// What one issuer said so far.
#[derive(Debug)]
pub struct IntrospectionReading {
    /// A configured issuer.
    pub issuer: String,
    /// How often it was asked, by what came of it.
    pub results: [(&'static str, u64); 3],
    /// Requests whose token was remembered.
    pub hits: u64,
    /// Requests whose token was not.
    pub misses: u64,
}

#[derive(Clone)]
pub(super) struct Introspection {
    questions: IntCounterVec,
    hits: IntCounterVec,
    misses: IntCounterVec,
}

impl Introspection {
    pub(super) fn new(r: &Registry) -> prometheus::Result<Self> {
        let by = &["issuer"];
        Ok(Self {
            questions: counters(r, "introspections_total", "Questions about opaque tokens.", &["issuer", "result"])?,
            hits: counters(r, "introspection_cache_hits_total", "Opaque tokens whose answer was remembered.", by)?,
            misses: counters(r, "introspection_cache_misses_total", "Opaque tokens with no answer remembered.", by)?,
        })
    }

    pub(super) fn read_off(&self, readings: &[IntrospectionReading]) {
        for reading in readings {
            let issuer = reading.issuer.as_str();
            for (result, total) in reading.results {
                let counter = self.questions.with_label_values(&[issuer, result]);
                counter.inc_by(total.saturating_sub(counter.get()));
            }
            for (counters, total) in [(&self.hits, reading.hits), (&self.misses, reading.misses)] {
                let counter = counters.with_label_values(&[issuer]);
                counter.inc_by(total.saturating_sub(counter.get()));
            }
        }
    }
}
