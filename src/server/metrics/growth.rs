//! The growth of a byte counter in few bits: exact below 256 bytes, with 8 significant bits above. Pure.
//!
//! A byte matters to the rate of an idle VM. Of a busy one the low bits are noise that no chart shows, and they would
//! double the size of its counters. What rounding leaves out is counted with the next growth, so a counter is never
//! ahead of what was counted, and catches up once the traffic ends.

const SIGNIFICANT_BITS: u32 = 8;
/// The smallest number of eight bits: each further doubling has so many codes.
const CODES_PER_DOUBLING: i64 = 1 << (SIGNIFICANT_BITS - 1);
/// An `i64` that is not negative has 63 bits.
const MAX_SHIFT: i64 = 63 - SIGNIFICANT_BITS as i64;

/// How many low bits are left out.
fn shift(growth: i64) -> u32 {
    (i64::BITS - growth.leading_zeros()).saturating_sub(SIGNIFICANT_BITS)
}

/// The recorded value of a counter that was recorded as `before` last. One that fell starts anew.
pub fn recorded(before: Option<i64>, counter: i64) -> i64 {
    match before.and_then(|before| Some((before, counter.checked_sub(before)?))) {
        Some((before, growth)) if growth >= 0 => before + (growth >> shift(growth) << shift(growth)),
        _ => counter,
    }
}

/// The most that a counter can have been when `recorded` was recorded after `before`.
pub fn at_most(before: Option<i64>, recorded: i64) -> i64 {
    let growth = before.and_then(|before| recorded.checked_sub(before)).filter(|growth| *growth >= 0);
    recorded.saturating_add(growth.map_or(0, |growth| (1 << shift(growth)) - 1))
}

/// Numbers a rounded growth so that similar growths have similar numbers. `None` for a growth that is not rounded, and
/// for a counter that fell.
pub fn code(growth: i64) -> Option<i64> {
    let shift = shift(growth);
    (growth >= 0 && growth.trailing_zeros() >= shift)
        .then(|| i64::from(shift) * CODES_PER_DOUBLING + (growth >> shift))
}

/// The inverse of [`code`]; `None` for what is no code.
pub fn decode(code: i64) -> Option<i64> {
    let shift = (code / CODES_PER_DOUBLING - 1).max(0);
    ((0..=MAX_SHIFT).contains(&shift) && code >= 0).then(|| (code - shift * CODES_PER_DOUBLING) << shift)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn codes_are_numbered_without_holes() {
        let mut growth = 0;
        for number in 0..2000 {
            growth = decode(number).unwrap();
            assert_eq!(code(growth), Some(number), "{growth}");
        }
        assert_eq!(growth, 207 << 14);
        assert_eq!([-1, 257, 513, i64::MIN].map(code), [None; 4]);
        assert_eq!((decode(-1), decode(i64::MAX), decode(i64::MIN)), (None, None, None));
    }

    proptest! {
        #[test]
        fn a_counter_is_recorded_within_a_128th_of_its_growth_and_never_ahead(
            growths in proptest::collection::vec(prop_oneof![0..1000_i64, 0..1_000_000_000_000_i64], 1..100),
        ) {
            let (mut counter, mut before) = (0_i64, None);
            for growth in growths {
                counter += growth;
                let recorded = recorded(before, counter);
                let grown = counter - before.unwrap_or(counter);
                prop_assert!(recorded <= counter && counter - recorded <= grown / 128, "{recorded} of {counter}");
                prop_assert!(counter <= at_most(before, recorded));
                prop_assert!(grown >= 256 || recorded == counter, "a small growth is exact");
                prop_assert!(before.is_none_or(|before| code(recorded - before).and_then(decode) == Some(recorded - before)));
                before = Some(recorded);
            }
        }

        #[test]
        fn no_numbers_overflow(before: i64, counter: i64) {
            let recorded = recorded(Some(before), counter);
            at_most(Some(before), recorded);
            if let Some(number) = code(counter) {
                prop_assert_eq!(decode(number), Some(counter));
            }
            decode(before);
        }
    }
}
