//! Formats values and times. Pure, because hydration needs the same text on the server and in the browser. MB, GB
//! and TB are binary; an unknown value is [`UNKNOWN`], never zero.

use crate::model::{UtcMillis, tenths};
use time::OffsetDateTime;

/// Shown instead of an unknown value.
pub const UNKNOWN: &str = "–";

/// One decimal below ten, none above, no trailing `.0`.
fn short(value: f64) -> String {
    let rounded = if value >= 9.95 { value.round() } else { tenths(value) };
    rounded.to_string()
}

/// `34`, `0.4` or `–`: a percentage without its sign, for where the sign has a style of its own.
pub fn percent_number(value: Option<f64>) -> String {
    value.map_or(UNKNOWN.into(), short)
}

/// `34 %`.
pub fn percent(value: Option<f64>) -> String {
    value.map_or(UNKNOWN.into(), |v| format!("{} %", short(v)))
}

/// `512 MB`, `2 GB`: from MB.
pub fn megabytes(mb: f64) -> String {
    if mb < 1024.0 { format!("{} MB", mb.round()) } else { gigabytes(mb / 1024.0) }
}

/// `12 KB`, `512 MB`, `2.1 GB`.
pub fn bytes(bytes: u64) -> String {
    let kb = bytes as f64 / 1024.0;
    if kb < 1024.0 { format!("{} KB", kb.round()) } else { megabytes(kb / 1024.0) }
}

/// `40 GB`, `1.8 TB`: from GB.
pub fn gigabytes(gb: f64) -> String {
    if gb < 1024.0 { format!("{} GB", tenths(gb)) } else { format!("{} TB", tenths(gb / 1024.0)) }
}

/// `6.2 of 8 GB`: both values in the unit of the total, from GB.
pub fn used_of_gb(used: Option<f64>, total: Option<f64>) -> Option<String> {
    let (used, total) = (used?, total?);
    Some(if total < 1.0 {
        format!("{} of {} MB", (used * 1024.0).round(), (total * 1024.0).round())
    } else if total < 1024.0 {
        format!("{} of {} GB", tenths(used), tenths(total))
    } else {
        format!("{} of {} TB", tenths(used / 1024.0), tenths(total / 1024.0))
    })
}

/// `1.2 MB/s`, `340 KB/s`, `0 KB/s`: from MB/s.
pub fn rate(mb_per_s: Option<f64>) -> String {
    let (value, unit) = rate_parts(mb_per_s);
    if unit.is_empty() { value } else { format!("{value} {unit}") }
}

/// `0.4`, `12`: a plain number.
pub fn count(value: Option<f64>) -> String {
    value.map_or(UNKNOWN.into(), short)
}

/// The value and its unit; no unit for an unknown rate.
pub fn rate_parts(mb_per_s: Option<f64>) -> (String, &'static str) {
    let Some(mb) = mb_per_s else { return (UNKNOWN.into(), "") };
    if mb >= 1024.0 {
        (short(mb / 1024.0), "GB/s")
    } else if mb >= 1.0 {
        (short(mb), "MB/s")
    } else {
        (short(mb * 1024.0), "KB/s")
    }
}

/// `1 core`, `4 cores`.
pub fn cores(count: u32) -> String {
    if count == 1 { "1 core".into() } else { format!("{count} cores") }
}

/// The two largest units of a length of time: `45 s`, `12 m`, `6 h 12 m`, `3 d 4 h`.
pub fn duration(seconds: u64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, m) => format!("{m} m"),
        (0, h, m) => format!("{h} h {} m", m % 60),
        (d, h, _) => format!("{d} d {} h", h % 24),
    }
}

/// A duration to the second: `14 s`, `2 m 5 s`, `1 h 3 m`.
pub fn elapsed(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} m {} s", seconds / 60, seconds % 60),
        _ => duration(seconds),
    }
}

/// Whole seconds from `since` to `now`; 0 if `since` is in the future.
pub fn seconds_between(since: UtcMillis, now: UtcMillis) -> u64 {
    now.secs_since(since).max(0.0) as u64
}

/// `UTC+2`, `UTC-03:30`: minutes east of UTC.
pub fn utc_offset(minutes: i32) -> String {
    let (sign, hours, rest) = (if minutes < 0 { '-' } else { '+' }, minutes.abs() / 60, minutes.abs() % 60);
    if rest == 0 { format!("UTC{sign}{hours}") } else { format!("UTC{sign}{hours:02}:{rest:02}") }
}

fn civil(at: UtcMillis, offset_minutes: i32) -> OffsetDateTime {
    let shifted = at.plus_secs(i64::from(offset_minutes) * 60);
    OffsetDateTime::from_unix_timestamp(shifted.0.div_euclid(1000)).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

/// `23 Nov 2026, 06:15:54` in the zone that is `offset_minutes` east of UTC.
pub fn date_and_time(at: UtcMillis, offset_minutes: i32) -> String {
    let t = civil(at, offset_minutes);
    let month = &t.month().to_string()[..3];
    format!("{} {month} {}, {:02}:{:02}:{:02}", t.day(), t.year(), t.hour(), t.minute(), t.second())
}

/// `06:15:54` in the zone that is `offset_minutes` east of UTC.
pub fn time_of_day(at: UtcMillis, offset_minutes: i32) -> String {
    let t = civil(at, offset_minutes);
    format!("{:02}:{:02}:{:02}", t.hour(), t.minute(), t.second())
}

/// `23 Nov, 06:15` in the zone that is `offset_minutes` east of UTC.
pub fn day_and_time(at: UtcMillis, offset_minutes: i32) -> String {
    let t = civil(at, offset_minutes);
    format!("{} {}, {:02}:{:02}", t.day(), &t.month().to_string()[..3], t.hour(), t.minute())
}

/// `23 Nov, 06:15:54` in the zone that is `offset_minutes` east of UTC.
pub fn day_and_second(at: UtcMillis, offset_minutes: i32) -> String {
    let t = civil(at, offset_minutes);
    format!("{} {}, {}", t.day(), &t.month().to_string()[..3], time_of_day(at, offset_minutes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_value_is_a_dash_and_zero_is_zero() {
        assert_eq!(percent(None), "–");
        assert_eq!(percent(Some(0.0)), "0 %");
        assert_eq!(rate(None), "–");
        assert_eq!(rate(Some(0.0)), "0 KB/s");
    }

    #[test]
    fn small_percentages_keep_a_decimal() {
        assert_eq!(percent(Some(0.44)), "0.4 %");
        assert_eq!(percent(Some(9.96)), "10 %");
        assert_eq!(percent(Some(34.4)), "34 %");
        assert_eq!(percent(Some(5.0)), "5 %");
    }

    #[test]
    fn sizes_take_the_unit_that_reads_best() {
        assert_eq!(megabytes(512.0), "512 MB");
        assert_eq!(megabytes(2048.0), "2 GB");
        assert_eq!(megabytes(1536.0), "1.5 GB");
        assert_eq!(gigabytes(1843.2), "1.8 TB");
        assert_eq!(used_of_gb(Some(6.24), Some(8.0)).as_deref(), Some("6.2 of 8 GB"));
        assert_eq!(used_of_gb(Some(0.25), Some(0.5)).as_deref(), Some("256 of 512 MB"));
        assert_eq!(used_of_gb(None, Some(8.0)), None);
    }

    #[test]
    fn a_rate_below_a_megabyte_is_shown_in_kilobytes() {
        assert_eq!(rate(Some(8.44)), "8.4 MB/s");
        assert_eq!(rate(Some(0.332)), "340 KB/s");
        assert_eq!(rate(Some(0.001)), "1 KB/s");
    }

    #[test]
    fn a_duration_has_its_two_largest_units() {
        assert_eq!(duration(45), "45 s");
        assert_eq!(duration(6 * 3600 + 12 * 60 + 9), "6 h 12 m");
        assert_eq!(duration(3 * 86_400 + 4 * 3600), "3 d 4 h");
        assert_eq!(elapsed(125), "2 m 5 s");
    }

    #[test]
    fn a_time_in_the_future_is_zero_seconds_ago() {
        assert_eq!(seconds_between(UtcMillis(5000), UtcMillis(1000)), 0);
        assert_eq!(seconds_between(UtcMillis(1000), UtcMillis(15_900)), 14);
    }

    #[test]
    fn times_are_formatted_in_the_requested_zone() {
        let at = UtcMillis::from_rfc3339("2026-11-23T23:15:54Z").unwrap();
        assert_eq!(date_and_time(at, 0), "23 Nov 2026, 23:15:54");
        assert_eq!(date_and_time(at, 60), "24 Nov 2026, 00:15:54");
        assert_eq!(time_of_day(at, -90), "21:45:54");
        assert_eq!(day_and_time(at, 60), "24 Nov, 00:15");
    }
}
