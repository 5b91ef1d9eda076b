//! Where access lines go, and which of them.

use std::cell::RefCell;
use std::fmt;
use std::time::Duration;

use super::{Record, TARGET};
use crate::telemetry::line::{Form, Line};
use crate::telemetry::output::Lines;
use crate::telemetry::share::{Share, spread};

/// Where access lines go, how they look, and which good requests leave one.
#[derive(Clone)]
pub struct AccessLog {
    lines: Lines,
    form: Form,
    share: Share,
}

impl AccessLog {
    pub(in crate::telemetry) const fn new(lines: Lines, form: Form) -> Self {
        Self { lines, form, share: Share::ALL }
    }

    /// The same log for another share of the good requests.
    pub(in crate::telemetry) fn of(&self, share: Share) -> Self {
        Self { share, ..self.clone() }
    }

    /// Whether a request leaves a line. Which good ones do depends on their id alone.
    pub(super) fn wants(&self, record: &Record) -> bool {
        self.share.is_all() || !record.went_well() || self.share.includes(spread(record.id.as_str()))
    }

    pub(super) fn write(&self, record: &Record, duration: Duration) {
        thread_local! {
            /// A line is made here, so that other threads wait for no more than the copy of it.
            static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
        }
        let at = record.ledger.clock.now();
        let write = |line: &mut Vec<u8>| {
            line.clear();
            record.write(Line::begin(line, self.form, at, record.level(), TARGET), self.share, duration);
            self.lines.push(line);
        };
        // A thread that ends has no scratch any more.
        let written = SCRATCH.try_with(|scratch| scratch.try_borrow_mut().map(|mut line| write(&mut line)).is_ok());
        if written != Ok(true) {
            write(&mut Vec::new());
        }
    }
}

impl fmt::Debug for AccessLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessLog").field("form", &self.form).finish_non_exhaustive()
    }
}
