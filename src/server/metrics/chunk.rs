//! The form of a sealed column: up to an hour's integers, some of them unknown, as few bytes.
//!
//! ```text
//! byte 0     1: the known values are all the same   2: they are compressed by pco   3: their growth is
//!            + 16 when some are unknown
//! (runs)     when some are unknown: how many runs, then their lengths, unknown and known in turn (LEB128)
//! values     1: the value (zigzag LEB128)           2: pco's chunk metadata and its one page
//!            3: the first value (zigzag LEB128), then the codes (`growth.rs`) of the steps to the others, as in 2
//! ```
//!
//! Pure. Decoding restores the encoded values exactly; foreign bytes are an error, never a value. The
//! sampling of ticks makes most columns short steps from one value to the next, noise around a level, or a counter's
//! rounded growth: all ways are tried and the shortest one is kept.

use super::growth;
use pco::{
    ChunkConfig, DeltaSpec, ModeSpec,
    wrapped::{FileCompressor, FileDecompressor},
};

/// Represents an unknown value in memory.
pub const UNKNOWN: i64 = i64::MIN;

const SAME: u8 = 1;
const PCO: u8 = 2;
const GROWTH: u8 = 3;
const GAPS: u8 = 16;

/// What pco writes at the beginning of a file: its format's version. Not stored: another one will be another kind.
const PCO_HEADER: [u8; 2] = [4, 1];

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a sealed chunk cannot be read")]
pub struct Corrupt;

/// `None` when nothing is known.
pub fn encode(values: &[i64]) -> Option<Vec<u8>> {
    let known: Vec<i64> = values.iter().copied().filter(|value| *value != UNKNOWN).collect();
    let first = *known.first()?;
    let gaps = known.len() < values.len();
    let (kind, body) = if known.iter().all(|value| *value == first) {
        let mut body = Vec::new();
        put_signed(&mut body, first);
        (SAME, body)
    } else {
        let plain = shortest(&known)?;
        match grown(&known).filter(|grown| grown.len() < plain.len()) {
            Some(grown) => (GROWTH, grown),
            None => (PCO, plain),
        }
    };
    let mut bytes = vec![kind | if gaps { GAPS } else { 0 }];
    if gaps {
        let lengths = runs(values);
        put(&mut bytes, lengths.len() as u64);
        for length in lengths {
            put(&mut bytes, length);
        }
    }
    bytes.extend(body);
    Some(bytes)
}

/// `count` values, [`UNKNOWN`] where nothing is known.
///
/// # Errors
/// When the bytes are no chunk of `count` values.
pub fn decode(bytes: &[u8], count: usize) -> Result<Vec<i64>, Corrupt> {
    let (&kind, mut rest) = bytes.split_first().ok_or(Corrupt)?;
    let lengths = if kind & GAPS == 0 { vec![0, count] } else { read_runs(&mut rest, count)? };
    let known: usize = lengths.iter().skip(1).step_by(2).sum();
    let values = match kind & !GAPS {
        SAME => vec![take_signed(&mut rest)?; known],
        PCO => decompress(rest, known)?,
        GROWTH => {
            let mut value = take_signed(&mut rest)?;
            let codes = decompress(rest, known.checked_sub(1).ok_or(Corrupt)?)?;
            let mut values = vec![value];
            for code in codes {
                let step = growth::decode(code).ok_or(Corrupt)?;
                value = value.checked_add(step).ok_or(Corrupt)?;
                values.push(value);
            }
            values
        }
        _ => return Err(Corrupt),
    };
    if known == count {
        return Ok(values);
    }
    let mut all = Vec::with_capacity(count);
    let mut values = values.into_iter();
    for (i, length) in lengths.into_iter().enumerate() {
        if i % 2 == 0 {
            all.resize(all.len() + length, UNKNOWN);
        } else {
            all.extend(values.by_ref().take(length));
        }
    }
    all.resize(count, UNKNOWN);
    Ok(all)
}

fn shortest(values: &[i64]) -> Option<Vec<u8>> {
    let specs = [DeltaSpec::TryConsecutive(1), DeltaSpec::NoOp];
    specs.into_iter().filter_map(|spec| compress(values, spec)).min_by_key(Vec::len)
}

/// The first value and the growth up to each of the others; `None` unless all are a counter's rounded growth.
fn grown(values: &[i64]) -> Option<Vec<u8>> {
    let code = |pair: &[i64]| growth::code(pair[1].checked_sub(pair[0])?);
    let codes: Vec<i64> = values.windows(2).map(code).collect::<Option<_>>()?;
    let mut bytes = Vec::new();
    put_signed(&mut bytes, *values.first()?);
    bytes.extend(shortest(&codes)?);
    Some(bytes)
}

fn compress(values: &[i64], delta: DeltaSpec) -> Option<Vec<u8>> {
    let config = ChunkConfig::default().with_mode_spec(ModeSpec::Classic).with_delta_spec(delta);
    let mut chunk = FileCompressor::default().chunk_compressor(values, &config).ok()?;
    let bytes = chunk.write_meta(Vec::new()).ok()?;
    chunk.write_page(0, bytes).ok()
}

fn decompress(bytes: &[u8], count: usize) -> Result<Vec<i64>, Corrupt> {
    let (file, _) = FileDecompressor::new(&PCO_HEADER[..]).map_err(|_| Corrupt)?;
    let (mut chunk, rest) = file.chunk_decompressor::<i64, _>(bytes).map_err(|_| Corrupt)?;
    let mut values = vec![0; count];
    let mut page = chunk.page_decompressor(rest, count).map_err(|_| Corrupt)?;
    let progress = page.read(&mut values).map_err(|_| Corrupt)?;
    if progress.n_processed == count { Ok(values) } else { Err(Corrupt) }
}

/// The lengths of the runs of unknown and known values in turn, an unknown one (perhaps of length 0) first.
fn runs(values: &[i64]) -> Vec<u64> {
    let mut lengths = vec![0];
    let mut known = false;
    for value in values {
        if (*value != UNKNOWN) != known {
            known = !known;
            lengths.push(0);
        }
        if let Some(last) = lengths.last_mut() {
            *last += 1;
        }
    }
    lengths
}

fn read_runs(bytes: &mut &[u8], count: usize) -> Result<Vec<usize>, Corrupt> {
    let how_many = take(bytes)?;
    let mut left = count;
    let mut lengths = Vec::new();
    for _ in 0..how_many {
        let length = usize::try_from(take(bytes)?).map_err(|_| Corrupt)?;
        left = left.checked_sub(length).ok_or(Corrupt)?;
        lengths.push(length);
    }
    if left == 0 { Ok(lengths) } else { Err(Corrupt) }
}

/// Zigzag: small numbers of either sign are short.
fn put_signed(bytes: &mut Vec<u8>, number: i64) {
    put(bytes, ((number << 1) ^ (number >> 63)) as u64);
}

fn take_signed(bytes: &mut &[u8]) -> Result<i64, Corrupt> {
    let folded = take(bytes)?;
    Ok((folded >> 1) as i64 ^ -((folded & 1) as i64))
}

fn put(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

fn take(bytes: &mut &[u8]) -> Result<u64, Corrupt> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first().ok_or(Corrupt)?;
        *bytes = rest;
        number |= u64::from(byte & 0x7F) << shift;
        if byte < 0x80 {
            return Ok(number);
        }
    }
    Err(Corrupt)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::{collection::vec, prelude::*};

    #[test]
    fn a_file_of_this_pco_begins_as_ours_are_read() {
        assert_eq!(FileCompressor::default().write_header(Vec::new()).unwrap(), PCO_HEADER);
    }

    #[test]
    fn nothing_known_is_no_chunk_and_a_level_is_a_few_bytes() {
        assert_eq!(encode(&[UNKNOWN; 720]), None);
        assert_eq!(encode(&[]), None);
        assert!(encode(&[4096; 720]).unwrap().len() <= 4);
        let counted_up: Vec<_> = (0..720).map(|tick| 100_000 + 5 * tick).collect();
        assert!(encode(&counted_up).unwrap().len() < 40);
    }

    #[test]
    fn a_busy_counter_is_no_larger_in_bytes_than_in_kb() {
        // Around 10 MB a tick, give or take.
        let growth = |tick: i64| 10_000_000 + (tick * 7_919_031) % 3_000_000;
        let (mut bytes, mut kb, mut counter) = (Vec::new(), Vec::new(), 0);
        for tick in 0..720 {
            counter += growth(tick);
            bytes.push(growth::recorded(bytes.last().copied(), counter));
            kb.push(counter / 1024);
        }
        let size = |column: &[i64]| encode(column).unwrap().len();
        assert!(size(&bytes) < size(&kb), "{} bytes for {}", size(&bytes), size(&kb));
    }

    fn any_column() -> impl Strategy<Value = Vec<i64>> {
        let cell = prop_oneof![
            1 => Just(UNKNOWN),
            4 => 0..10_000_i64,
            1 => any::<i64>(),
        ];
        let steps = vec((0..5000_i64, 0..20_u8), 0..720).prop_map(|steps| {
            let mut sum = 0;
            let step = |(step, gap)| {
                sum += step;
                if gap == 0 { UNKNOWN } else { sum }
            };
            steps.into_iter().map(step).collect()
        });
        let counter = vec((0..5_000_000_i64, 0..20_u8), 0..720).prop_map(|growths| {
            let (mut counter, mut before) = (0, None);
            let recorded = |(growth, gap)| {
                counter += growth;
                if gap == 0 {
                    return UNKNOWN;
                }
                let recorded = growth::recorded(before, counter);
                before = Some(recorded);
                recorded
            };
            growths.into_iter().map(recorded).collect()
        });
        prop_oneof![
            vec(cell, 0..720),
            steps,
            counter,
            (any::<i64>(), 0..720_usize).prop_map(|(v, n)| vec![v; n])
        ]
    }

    #[test]
    #[ignore = "takes a minute; make test runs it"]
    fn fuzz_parser() {
        let noise = |i: i64| (i * 7919) % 1013;
        let columns: [Vec<i64>; 4] = [
            (0..720).map(noise).collect(),
            (0..720).map(|i| 5 * i + noise(i) / 1000).collect(),
            (0..720).map(|i| if i % 50 < 9 { UNKNOWN } else { noise(i) }).collect(),
            (0..720).map(|i| if i < 100 { UNKNOWN } else { 42 }).collect(),
        ];
        let chunks = columns.map(|column| encode(&column).unwrap());
        crate::server::fuzz::fuzz(&chunks.each_ref().map(Vec::as_slice), |input| {
            if let Ok(values) = decode(input, 720) {
                assert_eq!(values.len(), 720);
            }
        });
    }

    proptest! {
        #[test]
        fn a_column_survives_being_sealed(column in any_column()) {
            match encode(&column) {
                Some(bytes) => prop_assert_eq!(decode(&bytes, column.len()), Ok(column)),
                None => prop_assert!(column.iter().all(|value| *value == UNKNOWN)),
            }
        }

        #[test]
        fn any_bytes_are_values_or_an_error(bytes in vec(any::<u8>(), 0..200), count in 0..800_usize) {
            prop_assert!(decode(&bytes, count).is_ok_and(|values| values.len() == count) || decode(&bytes, count).is_err());
        }

        #[test]
        fn damage_is_values_or_an_error(
            column in any_column(), at in any::<proptest::sample::Index>(), to in any::<u8>(), cut in any::<bool>(),
        ) {
            let Some(mut bytes) = encode(&column) else { return Ok(()) };
            let at = at.index(bytes.len());
            if cut { bytes.truncate(at) } else { bytes[at] = to }
            if let Ok(values) = decode(&bytes, column.len()) {
                prop_assert_eq!(values.len(), column.len());
            }
        }
    }
}
