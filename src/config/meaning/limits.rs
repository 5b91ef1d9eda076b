//! How much one caller may ask, and how often one sender may fail.

use std::time::Duration;

use super::{count, values};
use crate::config::reading::{Field, Reading};
use crate::config::written::{self, LimitPer, Listener};
use crate::limits::{Per, Rate, RouteLimits};

const FAILURES_PER_MINUTE: u32 = 60;

/// The limits of a route.
pub fn of_route(field: &Field<written::AccessLimits>, reading: &mut Reading<'_>) -> Option<RouteLimits> {
    let written = field.value()?;
    let often = number(&written.requests_per_second, reading);
    let concurrent = number(&written.concurrent, reading);
    let burst = number(&written.burst, reading);
    let (often_given, concurrent_given) = (written.requests_per_second.is_given(), written.concurrent.is_given());
    if !often_given && !concurrent_given {
        let message = "expected `requests_per_second` or `concurrent`, found neither";
        reading.error(field.place, &field.path, message, "this limits nothing");
    } else if !often_given && written.burst.is_given() {
        let field = &written.burst;
        let message = "has no effect without `requests_per_second`";
        reading.error(field.place, &field.path, message, "a burst of what?");
    }
    Some(RouteLimits {
        per: match written.per.value() {
            Some(LimitPer::ClientId) => Per::ClientId,
            Some(LimitPer::Subject) => Per::Subject,
            Some(LimitPer::Thumbprint) | None => Per::Thumbprint,
        },
        rate: often.map(|often| rate(often, Duration::from_secs(1), burst)),
        concurrent,
    })
}

/// The limit to failures.
pub fn failures(
    field: &Field<written::Failures>,
    listeners: &Field<Vec<Field<Listener>>>,
    reading: &mut Reading<'_>,
) -> Option<Rate> {
    let written = field.value()?;
    // Where proxies are named, theirs is nobody's address, and they may tell whose it is.
    let anonymous =
        |listener: &Listener| !listener.tls.is_given() && listener.trusted_proxies.value().is_none_or(Vec::is_empty);
    if let Some((_, plain)) = values(listeners).find(|(_, listener)| anonymous(listener)) {
        let message = "one bad client slows down all that come through the same TLS terminator";
        let label = "whoever ends TLS for them sends for all of them";
        reading
            .warning(field.place, &field.path, message, "senders are told apart by address")
            .also(plain.address.place, label);
    }
    let often = number(&written.per_minute, reading).unwrap_or(FAILURES_PER_MINUTE);
    let burst = number(&written.burst, reading);
    Some(rate(often, Duration::from_mins(1), burst))
}

/// As many at once as in two units of time, unless somebody said how many.
fn rate(often: u32, time: Duration, burst: Option<u32>) -> Rate {
    Rate::new(often, time, burst.unwrap_or(often.saturating_mul(2)))
}

fn number(field: &Field<u64>, reading: &mut Reading<'_>) -> Option<u32> {
    count(field, 1, Rate::MOST.into(), reading).and_then(|number| u32::try_from(number).ok())
}
