//! Which domains are read together, which by themselves, and which not at all for a while.
//!
//! ```text
//!                 its group hung                     hung again
//!   together ───────────────────────▶ suspected ───────────────────▶ set aside
//!      ▲                                  │  ▲                           │
//!      └──────────── answered ────────────┘  └──────── 40 s later ───────┘
//! ```
//! One reading of many domains tells that one of them hangs, not which. So those that were in it are read by
//! themselves the next time, beside the others, and whoever hangs then is left alone: each reading of it that is
//! abandoned keeps one of libvirt's few threads. Pure: time comes from outside.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

/// How long a domain that hangs is not asked.
const LEFT_ALONE: Duration = Duration::from_secs(40);
/// Each one costs a process: more suspects wait for their turn.
const MOST_ALONE: usize = 16;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    pub uuid: String,
    pub name: String,
}

#[derive(Debug, Default)]
pub struct Roll {
    known: Vec<Named>,
    doubts: HashMap<String, Doubt>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Doubt {
    Suspected,
    SetAside { until: Instant },
}

/// How the known domains are to be read now. Who is in neither is not asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    pub together: Vec<Named>,
    pub alone: Vec<Named>,
}

impl Roll {
    /// Takes over which domains there are; what is doubted of those that are still there stays.
    pub fn set_known(&mut self, known: Vec<Named>) {
        self.doubts.retain(|uuid, _| known.iter().any(|domain| domain.uuid == *uuid));
        self.known = known;
    }

    pub fn known(&self) -> &[Named] {
        &self.known
    }

    pub fn is_doubtful(&self, uuid: &str) -> bool {
        self.doubts.contains_key(uuid)
    }

    pub fn has_doubts(&self) -> bool {
        !self.doubts.is_empty()
    }

    pub fn plan(&self, now: Instant) -> Plan {
        let mut plan = Plan { together: Vec::new(), alone: Vec::new() };
        for domain in &self.known {
            match self.doubts.get(&domain.uuid) {
                None => plan.together.push(domain.clone()),
                Some(Doubt::SetAside { until }) if now < *until => {}
                Some(_) if plan.alone.len() == MOST_ALONE => {}
                Some(_) => plan.alone.push(domain.clone()),
            }
        }
        plan
    }

    pub fn suspect(&mut self, domains: &[Named]) {
        for domain in domains {
            self.doubts.insert(domain.uuid.clone(), Doubt::Suspected);
        }
    }

    pub fn answered(&mut self, domain: &Named) {
        self.doubts.remove(&domain.uuid);
    }

    pub fn set_aside(&mut self, domain: &Named, now: Instant) {
        self.doubts.insert(domain.uuid.clone(), Doubt::SetAside { until: now + LEFT_ALONE });
    }
}

/// About as many groups as there are domains in each: with one that hangs, as few as can be are in doubt for as few
/// processes as can be.
pub fn groups(domains: &[Named]) -> Vec<Vec<Named>> {
    let size = domains.len().isqrt().max(1);
    domains.chunks(size).map(<[Named]>::to_vec).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn named(number: usize) -> Named {
        Named { uuid: format!("uuid-{number}"), name: format!("vm-{number}") }
    }

    fn roll(count: usize) -> Roll {
        let mut roll = Roll::default();
        roll.set_known((0..count).map(named).collect());
        roll
    }

    #[test]
    fn one_that_hangs_is_left_alone_for_a_while_and_then_asked_by_itself() {
        let (mut roll, now) = (roll(3), Instant::now());
        assert_eq!(roll.plan(now), Plan { together: vec![named(0), named(1), named(2)], alone: vec![] });
        roll.suspect(&[named(1), named(2)]);
        assert_eq!(roll.plan(now), Plan { together: vec![named(0)], alone: vec![named(1), named(2)] });
        roll.answered(&named(1));
        roll.set_aside(&named(2), now);
        let later = |secs| now + Duration::from_secs(secs);
        assert_eq!(roll.plan(later(39)), Plan { together: vec![named(0), named(1)], alone: vec![] });
        assert_eq!(roll.plan(later(40)).alone, [named(2)], "it never comes back among the others by itself");
        roll.answered(&named(2));
        assert_eq!(roll.plan(later(40)).together.len(), 3);
    }

    #[test]
    fn what_is_doubted_of_a_domain_goes_with_it() {
        let (mut roll, now) = (roll(2), Instant::now());
        roll.set_aside(&named(1), now);
        roll.set_known(vec![named(0)]);
        assert!(!roll.has_doubts());
        roll.set_known(vec![named(0), named(1)]);
        assert_eq!(roll.plan(now).together, [named(0), named(1)]);
    }

    #[test]
    fn many_suspects_take_turns() {
        let (mut roll, now) = (roll(40), Instant::now());
        roll.suspect(&(0..40).map(named).collect::<Vec<_>>());
        let mut turns = 0;
        while roll.has_doubts() {
            let Plan { together, alone } = roll.plan(now);
            assert!(alone.len() <= MOST_ALONE && together.len() + alone.len() <= 40);
            alone.iter().for_each(|domain| roll.answered(domain));
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
