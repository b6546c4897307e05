//! The input of a derivation.

use crate::{
    model::UtcMillis,
    server::{guest::GuestSamples, provider::Domain},
};
use std::time::Instant;

/// What the values of one VM are derived from.
#[derive(Debug, Clone, Copy)]
pub struct Inputs<'a> {
    /// Each domain with the monotonic time taken before it was sampled.
    pub previous: Option<(&'a Domain, Instant)>,
    pub current: (&'a Domain, Instant),
    /// The guest's samples from this boot of the domain.
    pub guest: Option<&'a GuestSamples>,
    /// When the previous tick was taken. Counters of a guest without a newer sample are not counted twice.
    pub tick_before: Option<Instant>,
    /// The wall clock at `current`.
    pub now: UtcMillis,
    pub interval_secs: u32,
}
