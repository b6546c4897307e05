//! A circuit breaker per domain: which domains are read in bulk, which one by one, and which are skipped for a while.
//!
//! ```text
//!                 its group hung                     hung again
//!   together ───────────────────────▶ suspected ───────────────────▶ skipped
//!      ▲                                  │  ▲                           │
//!      └──────────── answered ────────────┘  └──────── 40 s later ───────┘
//! ```
//! A bulk read that hangs does not show which domain hangs. So its domains are read one by one the next time, and a
//! domain that hangs then is skipped: every abandoned read occupies one of libvirt's few threads. Pure: the time
//! comes from the caller.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

/// How long an unresponsive domain is skipped.
const SKIP_DURATION: Duration = Duration::from_secs(40);
/// Each one costs a process: further suspects wait.
const MAX_ALONE: usize = 16;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DomainRef {
    pub uuid: String,
    pub name: String,
}

#[derive(Debug, Default)]
pub struct UnresponsiveDomains {
    known: Vec<DomainRef>,
    suspicions: HashMap<String, Suspicion>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Suspicion {
    Suspected,
    Skipped { until: Instant },
}

/// How the known domains are to be read now. A domain in neither list is skipped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadPlan {
    pub together: Vec<DomainRef>,
    pub alone: Vec<DomainRef>,
}

impl UnresponsiveDomains {
    /// Replaces the list of domains; suspicions of domains that still exist are kept.
    pub fn set_known(&mut self, known: Vec<DomainRef>) {
        self.suspicions.retain(|uuid, _| known.iter().any(|domain| domain.uuid == *uuid));
        self.known = known;
    }

    pub fn known(&self) -> &[DomainRef] {
        &self.known
    }

    pub fn is_suspected(&self, uuid: &str) -> bool {
        self.suspicions.contains_key(uuid)
    }

    pub fn has_suspects(&self) -> bool {
        !self.suspicions.is_empty()
    }

    pub fn plan(&self, now: Instant) -> ReadPlan {
        let mut plan = ReadPlan { together: Vec::new(), alone: Vec::new() };
        for domain in &self.known {
            match self.suspicions.get(&domain.uuid) {
                None => plan.together.push(domain.clone()),
                Some(Suspicion::Skipped { until }) if now < *until => {}
                Some(_) if plan.alone.len() == MAX_ALONE => {}
                Some(_) => plan.alone.push(domain.clone()),
            }
        }
        plan
    }

    pub fn suspect(&mut self, domains: &[DomainRef]) {
        for domain in domains {
            self.suspicions.insert(domain.uuid.clone(), Suspicion::Suspected);
        }
    }

    pub fn answered(&mut self, domain: &DomainRef) {
        self.suspicions.remove(&domain.uuid);
    }

    pub fn skip(&mut self, domain: &DomainRef, now: Instant) {
        self.suspicions.insert(domain.uuid.clone(), Suspicion::Skipped { until: now + SKIP_DURATION });
    }
}

/// About as many groups as domains per group: a hung domain then puts the fewest others under suspicion with the
/// fewest processes.
pub fn groups(domains: &[DomainRef]) -> Vec<Vec<DomainRef>> {
    let size = domains.len().isqrt().max(1);
    domains.chunks(size).map(<[DomainRef]>::to_vec).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn named(number: usize) -> DomainRef {
        DomainRef { uuid: format!("uuid-{number}"), name: format!("vm-{number}") }
    }

    fn unresponsive(count: usize) -> UnresponsiveDomains {
        let mut unresponsive = UnresponsiveDomains::default();
        unresponsive.set_known((0..count).map(named).collect());
        unresponsive
    }

    #[test]
    fn one_that_hangs_is_left_alone_for_a_while_and_then_read_alone() {
        let (mut unresponsive, now) = (unresponsive(3), Instant::now());
        assert_eq!(
            unresponsive.plan(now),
            ReadPlan { together: vec![named(0), named(1), named(2)], alone: vec![] }
        );
        unresponsive.suspect(&[named(1), named(2)]);
        assert_eq!(
            unresponsive.plan(now),
            ReadPlan { together: vec![named(0)], alone: vec![named(1), named(2)] }
        );
        unresponsive.answered(&named(1));
        unresponsive.skip(&named(2), now);
        let later = |secs| now + Duration::from_secs(secs);
        assert_eq!(
            unresponsive.plan(later(39)),
            ReadPlan { together: vec![named(0), named(1)], alone: vec![] }
        );
        assert_eq!(
            unresponsive.plan(later(40)).alone,
            [named(2)],
            "it never comes back among the others by itself"
        );
        unresponsive.answered(&named(2));
        assert_eq!(unresponsive.plan(later(40)).together.len(), 3);
    }

    #[test]
    fn suspicions_of_a_domain_are_dropped_with_it() {
        let (mut unresponsive, now) = (unresponsive(2), Instant::now());
        unresponsive.skip(&named(1), now);
        unresponsive.set_known(vec![named(0)]);
        assert!(!unresponsive.has_suspects());
        unresponsive.set_known(vec![named(0), named(1)]);
        assert_eq!(unresponsive.plan(now).together, [named(0), named(1)]);
    }

    #[test]
    fn many_suspects_take_turns() {
        let (mut unresponsive, now) = (unresponsive(40), Instant::now());
        unresponsive.suspect(&(0..40).map(named).collect::<Vec<_>>());
        let mut turns = 0;
        while unresponsive.has_suspects() {
            let ReadPlan { together, alone } = unresponsive.plan(now);
            assert!(alone.len() <= MAX_ALONE && together.len() + alone.len() <= 40);
            alone.iter().for_each(|domain| unresponsive.answered(domain));
            turns += 1;
        }
        assert_eq!(turns, 3);
    }

    proptest! {
        #[test]
        fn groups_hold_everybody_once_and_are_about_as_many_as_they_are_large(count in 0..2000_usize) {
            let domains: Vec<_> = (0..count).map(named).collect();
            let groups = groups(&domains);
            prop_assert_eq!(groups.concat(), domains);
            let largest = groups.iter().map(Vec::len).max().unwrap_or(0);
            prop_assert!(largest * largest <= count.max(1) && groups.len() <= largest + 2);
        }
    }
}
