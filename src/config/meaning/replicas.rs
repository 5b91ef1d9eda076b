//! How many gateways share the traffic: what each must know to remember for the others.

use super::count;
use crate::config::reading::{Field, Reading};
use crate::config::report::Place;

/// How many gateways of one configuration there are.
#[derive(Debug, Clone, Copy)]
pub struct Replicas {
    /// `None`: nobody said.
    pub number: Option<usize>,
    place: Place,
}

impl Replicas {
    /// Reports something that does not work for more than one.
    pub fn forbid(self, place: Place, field: &str, message: &str, help: &str, reading: &mut Reading<'_>) {
        if self.number.is_some_and(|number| number > 1) {
            reading
                .error(place, field, message, "this is each replica's own")
                .also(self.place, "more than one replica")
                .help(help);
        }
    }
}

/// What the configuration says.
pub fn replicas(field: &Field<u64>, reading: &mut Reading<'_>) -> Replicas {
    Replicas { number: count(field, 1, 100_000, reading), place: field.place }
}
