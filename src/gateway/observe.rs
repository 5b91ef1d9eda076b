//! A route that observes: what it would refuse passes as it came, and is told to the operator.

use hyper::body::Incoming;

use super::state::Gateway;
use crate::authorize::{Authorized, Refused, Stage};
use crate::telemetry::{Decision, Observed, Record};

impl Gateway {
    /// Lets a refused request of such a route pass, unproven.
    pub(super) fn observe(
        &self,
        refused: Refused<Incoming>,
        record: &mut Record,
    ) -> Stage<Authorized<Incoming>, Incoming> {
        let (mut refused, now) = (refused, self.clock.now());
        // As if it had been refused: whoever repeats a captured proof must not use up what its owner may ask.
        if let Some(place) = refused.place.take() {
            place.give_back(now);
        }
        if let Some(sender) = refused.inbound.sender() {
            self.failures.count(refused.refusal.reason(), sender, refused.key, now);
        }
        let (authorized, refusal) = Authorized::observe(refused)?;
        let observed = Observed {
            route: &authorized.route().name,
            reason: refusal.reason(),
            token: record.token(),
            client: record.client,
        };
        self.lasting.observations.note(&observed, now);
        // Nothing counts as proven, however far the checks came.
        record.binding = None;
        record.decision = Decision::Observe;
        record.refusal = Some(refusal);
        Ok(authorized)
    }
}
