//! When users are not to be notified. Pure: the time zone database is compiled in.

use crate::model::{QuietHours, UtcMillis};
use jiff::{Timestamp, ToSpan, civil::DateTime, tz::TimeZone};

/// Whether there is a time zone of this name.
pub fn is_time_zone(name: &str) -> bool {
    TimeZone::get(name).is_ok()
}

/// When the quiet hours that `now` lies in end; none outside of them.
pub fn quiet_until(quiet: &QuietHours, now: UtcMillis) -> Option<UtcMillis> {
    let zone = TimeZone::get(&quiet.time_zone).ok()?;
    let local = zone.to_datetime(Timestamp::from_millisecond(now.0).ok()?);
    let minute = local.hour() as u16 * 60 + local.minute() as u16;
    let (from, to) = (quiet.from_minute, quiet.to_minute);
    let is_quiet = if from < to { (from..to).contains(&minute) } else { minute >= from || minute < to };
    if !is_quiet {
        return None;
    }
    let day = if minute < to { local.date() } else { local.date().checked_add(1.day()).ok()? };
    let end = day.at((to / 60) as i8, (to % 60) as i8, 0, 0);
    instant(end, &zone)
}

fn instant(local: DateTime, zone: &TimeZone) -> Option<UtcMillis> {
    local.to_zoned(zone.clone()).ok().map(|zoned| UtcMillis(zoned.timestamp().as_millisecond()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn night() -> QuietHours {
        QuietHours { from_minute: 22 * 60, to_minute: 7 * 60, time_zone: "Europe/Berlin".into() }
    }

    fn at(text: &str) -> UtcMillis {
        UtcMillis::from_rfc3339(text).unwrap()
    }

    #[test]
    fn a_night_ends_in_the_morning_of_its_time_zone() {
        let until = |now| quiet_until(&night(), at(now));
        assert_eq!(until("2026-11-23T21:00:00Z"), Some(at("2026-11-24T06:00:00Z")));
        assert_eq!(until("2026-11-24T05:59:59Z"), Some(at("2026-11-24T06:00:00Z")));
        assert_eq!(until("2026-11-24T06:00:00Z"), None);
        assert_eq!(until("2026-11-24T20:59:00Z"), None);
        // An hour earlier in summer.
        assert_eq!(until("2026-07-01T21:00:00Z"), Some(at("2026-07-02T05:00:00Z")));
    }

    #[test]
    fn hours_within_a_day_do_not_reach_over_midnight() {
        let lunch = QuietHours { from_minute: 12 * 60, to_minute: 13 * 60, time_zone: "UTC".into() };
        assert_eq!(quiet_until(&lunch, at("2026-11-23T12:30:00Z")), Some(at("2026-11-23T13:00:00Z")));
        assert_eq!(quiet_until(&lunch, at("2026-11-23T23:30:00Z")), None);
    }

    #[test]
    fn a_time_zone_is_known_or_not() {
        assert!(is_time_zone("Asia/Kathmandu") && is_time_zone("UTC") && !is_time_zone("Moon/Tranquility"));
    }
}
