//! The load of a simulated VM: a pure function of its seed and of the time.
//!
//! Each minute has a level, drawn from a daily curve, the week, noise and now and then a burst. Within the minute
//! two waves ride on it that have whole periods in it, so they add nothing to the minute's sum. That makes the
//! work done between any two times exact and cheap: whole minutes are multiplied, only the parts at the ends need
//! a cosine. Nothing is ever negative, so the counters made of it only grow.

use crate::model::UtcMillis;
use std::f64::consts::TAU;

/// What a VM is used for; decides the shape of its days.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Profile {
    /// Follows its users through the day.
    Web,
    /// Little most of the time, everything while a job runs.
    Jobs,
    /// Even, with a nightly backup.
    Database,
    /// Hardly anything.
    Quiet,
    /// At its limit nearly all the time.
    Hot,
}

impl Profile {
    /// By what the VM is called; else drawn from its seed.
    pub(super) fn of(name: &str, seed: u64) -> Self {
        let called = |words: &[&str]| words.iter().any(|word| name.contains(word));
        if called(&["transcod"]) {
            Self::Hot
        } else if called(&["web", "api", "shop", "proxy", "gateway"]) {
            Self::Web
        } else if called(&["build", "runner", "batch", "render", "test"]) {
            Self::Jobs
        } else if called(&["db", "sql", "cache", "queue", "search"]) {
            Self::Database
        } else {
            [Self::Web, Self::Jobs, Self::Database, Self::Quiet][(hash(seed, 0, 0) % 4) as usize]
        }
    }
}

/// A share between 0 and 1 of some capacity, at any time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Load {
    seed: u64,
    profile: Profile,
}

const MINUTE_MS: i64 = 60_000;
const MINUTES_PER_DAY: i64 = 24 * 60;

impl Load {
    pub(super) fn new(seed: u64, profile: Profile) -> Self {
        Self { seed, profile }
    }

    /// The minute's mean. `minute` counts from 1970.
    fn level(&self, minute: i64) -> f64 {
        let day = minute.div_euclid(MINUTES_PER_DAY);
        // 1970-01-01 was a Thursday.
        let weekend = matches!((day + 3).rem_euclid(7), 5 | 6);
        let of_day = minute.rem_euclid(MINUTES_PER_DAY) as f64 / MINUTES_PER_DAY as f64;
        let noise = unit(hash(self.seed, 1, minute));
        // Drawn every quarter of an hour, so that busy times last longer than a minute.
        let spell = unit(hash(self.seed, 2, minute.div_euclid(15)));
        // Peaks at 14:00, lowest at 02:00 UTC, with the VM's own shift of up to an hour.
        let shift = (unit(hash(self.seed, 3, 0)) - 0.5) / 12.0;
        let daytime = 0.5 - 0.5 * (TAU * (of_day - 2.0 / 24.0 + shift)).cos();
        let level = match self.profile {
            Profile::Web => {
                let users = daytime * daytime * if weekend { 0.55 } else { 1.0 };
                0.04 + 0.5 * users * (0.7 + 0.3 * spell)
                    + 0.06 * noise
                    + if spell > 0.97 { 0.25 } else { 0.0 }
            }
            Profile::Jobs => {
                let threshold = if weekend { 0.93 } else { 0.9 - 0.35 * daytime };
                if spell > threshold { 0.75 + 0.2 * noise } else { 0.02 + 0.03 * noise }
            }
            Profile::Database => {
                let backup = (0.10..0.125).contains(&of_day);
                0.12 + 0.15 * daytime + 0.05 * spell + 0.04 * noise + if backup { 0.3 } else { 0.0 }
            }
            Profile::Quiet => 0.01 + 0.02 * noise + if spell > 0.98 { 0.2 } else { 0.0 },
            Profile::Hot => {
                // Pauses between two films.
                if spell > 0.96 { 0.35 + 0.1 * noise } else { 0.9 + 0.07 * noise }
            }
        };
        level.clamp(0.005, 0.98)
    }

    /// The share at one time.
    pub(super) fn at(&self, time: UtcMillis) -> f64 {
        let minute = time.0.div_euclid(MINUTE_MS);
        let secs = time.0.rem_euclid(MINUTE_MS) as f64 / 1000.0;
        let level = self.level(minute);
        let wave: f64 =
            self.waves(minute, level).iter().map(|w| w.amplitude * (w.speed * secs + w.phase).sin()).sum();
        level + wave
    }

    /// The share's sum over the time from `from` to `to`, in seconds; 0 when there is no time between.
    pub(super) fn seconds_between(&self, from: UtcMillis, to: UtcMillis) -> f64 {
        if to <= from {
            return 0.0;
        }
        let (first, last) = (from.0.div_euclid(MINUTE_MS), to.0.div_euclid(MINUTE_MS));
        let (start, end) =
            (from.0.rem_euclid(MINUTE_MS) as f64 / 1000.0, to.0.rem_euclid(MINUTE_MS) as f64 / 1000.0);
        if first == last {
            return self.within(first, start, end);
        }
        let whole: f64 = (first + 1..last).map(|minute| 60.0 * self.level(minute)).sum();
        self.within(first, start, 60.0) + whole + self.within(last, 0.0, end)
    }

    /// The sum over part of a minute, from `start` to `end` seconds in it.
    fn within(&self, minute: i64, start: f64, end: f64) -> f64 {
        let level = self.level(minute);
        let waves: f64 = self
            .waves(minute, level)
            .iter()
            .map(|w| {
                w.amplitude / w.speed * ((w.speed * start + w.phase).cos() - (w.speed * end + w.phase).cos())
            })
            .sum();
        (level * (end - start) + waves).max(0.0)
    }

    /// Their amplitudes together never reach the level, nor from it to 1.
    fn waves(&self, minute: i64, level: f64) -> [Wave; 2] {
        let room = (0.6 * level).min(1.0 - level);
        let phase = |stream| TAU * unit(hash(self.seed, stream, minute));
        [
            Wave { amplitude: 0.45 * room, speed: TAU * 2.0 / 60.0, phase: phase(4) },
            Wave { amplitude: 0.45 * room, speed: TAU * 5.0 / 60.0, phase: phase(5) },
        ]
    }
}

struct Wave {
    amplitude: f64,
    /// Radians per second; whole periods per minute.
    speed: f64,
    phase: f64,
}

/// A well-mixed number of three (SplitMix64's finish).
pub(super) fn hash(seed: u64, stream: u64, index: i64) -> u64 {
    let mut x = seed
        .wrapping_add(stream.wrapping_mul(0x9E37_79B9_7F4A_7C15))
        .wrapping_add((index as u64).wrapping_mul(0xD134_2543_DE82_EF95));
    for _ in 0..2 {
        x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        x ^= x >> 31;
    }
    x
}

/// A number in `0.0..1.0` of a hash.
pub(super) fn unit(hash: u64) -> f64 {
    (hash >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: i64 = 1_795_396_900_000;

    fn any_profile() -> impl Strategy<Value = Profile> {
        proptest::sample::select(vec![
            Profile::Web,
            Profile::Jobs,
            Profile::Database,
            Profile::Quiet,
            Profile::Hot,
        ])
    }

    fn mean(load: Load, from: i64, hours: i64) -> f64 {
        let secs = hours * 3600;
        load.seconds_between(UtcMillis(from), UtcMillis(from + secs * 1000)) / secs as f64
    }

    #[test]
    fn a_web_server_has_more_to_do_by_day_than_by_night() {
        let load = Load::new(7, Profile::Web);
        // Monday, 2026-11-23.
        let midnight = 1_795_392_000_000;
        let hour = 3_600_000;
        let (night, day) = (mean(load, midnight + hour, 2), mean(load, midnight + 13 * hour, 2));
        assert!(day > 3.0 * night, "{night} {day}");
    }

    #[test]
    fn the_hot_one_is_hot_and_the_quiet_one_is_not() {
        assert!(mean(Load::new(1, Profile::Hot), NOW, 24) > 0.85);
        assert!(mean(Load::new(1, Profile::Quiet), NOW, 24) < 0.05);
    }

    proptest! {
        #[test]
        fn a_share_is_between_nothing_and_all(
            seed in any::<u64>(), profile in any_profile(), time in 0..4_000_000_000_000_i64,
        ) {
            let share = Load::new(seed, profile).at(UtcMillis(time));
            prop_assert!((0.0..=1.0).contains(&share), "{share}");
        }

        #[test]
        fn the_sum_over_two_parts_is_the_sum_over_the_whole(
            seed in any::<u64>(), profile in any_profile(), first in 0..400_000_i64, second in 0..400_000_i64,
        ) {
            let load = Load::new(seed, profile);
            let (a, b, c) = (UtcMillis(NOW), UtcMillis(NOW + first), UtcMillis(NOW + first + second));
            let parts = load.seconds_between(a, b) + load.seconds_between(b, c);
            prop_assert!((parts - load.seconds_between(a, c)).abs() < 1e-6);
            prop_assert!(parts >= 0.0 && parts <= (first + second) as f64 / 1000.0 + 1e-6);
        }

        #[test]
        fn the_sum_is_that_of_the_shares(seed in any::<u64>(), profile in any_profile(), secs in 1..200_i64) {
            let load = Load::new(seed, profile);
            let steps = secs * 100;
            let stepped: f64 = (0..steps).map(|step| load.at(UtcMillis(NOW + step * 10 + 5)) * 0.01).sum();
            let exact = load.seconds_between(UtcMillis(NOW), UtcMillis(NOW + secs * 1000));
            prop_assert!((stepped - exact).abs() < 0.01, "{stepped} {exact}");
        }
    }
}
