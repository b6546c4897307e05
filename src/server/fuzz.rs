//! Feeds a parser damaged input: pieces cut out, doubled, moved, numbers made huge or negative.
//!
//! Tests called `fuzz_parser` use it. They run on request, `cargo test --lib fuzz_ -- --ignored`, as in `make test`; each for
//! `FUZZ_SECS` seconds, 15 by default. A panic shows the input. Every run begins with the same inputs.

use std::{
    env,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    time::{Duration, Instant},
};

const DEFAULT_SECS: u64 = 15;
const MOST_BYTES: usize = 16 * 1024;
const NUMBERS: [&[u8]; 10] = [
    b"0",
    b"-1",
    b"1",
    b"255",
    b"65536",
    b"9223372036854775807",
    b"18446744073709551615",
    b"99999999999999999999999",
    b"1e309",
    b"NaN",
];

struct Chance(u64);

impl Chance {
    /// SplitMix64.
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        x ^ (x >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }

    fn range(&mut self, length: usize) -> std::ops::Range<usize> {
        let (a, b) = (self.below(length + 1), self.below(length + 1));
        a.min(b)..a.max(b).min(a.min(b) + 64)
    }
}

/// Damages valid `examples` and hands each result to `check`, which parses it and asserts what holds for every input.
pub fn fuzz(examples: &[&[u8]], check: impl Fn(&[u8])) {
    let mut chance = Chance(examples.len() as u64);
    let secs =
        env::var("FUZZ_SECS").map_or(DEFAULT_SECS, |secs| secs.parse().expect("FUZZ_SECS is a number"));
    let (began, mut count) = (Instant::now(), 0_u64);
    while began.elapsed() < Duration::from_secs(secs) {
        let mut input = examples[chance.below(examples.len())].to_vec();
        for _ in 0..=chance.below(6) {
            damage(&mut input, examples, &mut chance);
        }
        input.truncate(MOST_BYTES);
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| check(&input))) {
            eprintln!("input: {:?}", String::from_utf8_lossy(&input));
            eprintln!(
                "in hexadecimal: {}",
                input.iter().map(|byte| format!("{byte:02x}")).collect::<String>()
            );
            resume_unwind(panic);
        }
        count += 1;
    }
    println!("{count} inputs");
}

fn damage(input: &mut Vec<u8>, examples: &[&[u8]], chance: &mut Chance) {
    let (at, range) = (chance.below(input.len() + 1), chance.range(input.len()));
    match chance.below(9) {
        0 if at < input.len() => input[at] ^= 1 << chance.below(8),
        1 if at < input.len() => input[at] = chance.next() as u8,
        2 => input.insert(at, chance.next() as u8),
        3 => drop(input.drain(range)),
        4 => {
            let piece = input[range].to_vec();
            input.splice(at..at, piece);
        }
        5 => input.truncate(at),
        6 => {
            let other = examples[chance.below(examples.len())];
            let piece = other[chance.range(other.len())].to_vec();
            input.splice(at..at, piece);
        }
        _ => {
            // The first number behind `at`.
            let Some(begin) = input[at..].iter().position(u8::is_ascii_digit).map(|i| at + i) else { return };
            let length = input[begin..].iter().take_while(|byte| byte.is_ascii_digit()).count();
            let number = NUMBERS[chance.below(NUMBERS.len())];
            input.splice(begin..begin + length, number.iter().copied());
        }
    }
}
