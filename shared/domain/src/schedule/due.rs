//! When the scheduler is to start the next run. By its rules for the clocks that are turned: a time of day that does
//! not exist is left out, one that comes twice counts once.
//! <https://docs.aws.amazon.com/scheduler/latest/UserGuide/schedule-types.html>
//!
//! Own code and not a crate for cron: the expression is read already, by the one file that knows which of its forms the
//! scheduler takes, and no crate has these rules for the clocks.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::{AmbiguousOffset, TimeZone};

use super::{Schedule, cron};
use crate::clock::Millis;
use crate::finding::Finding;

/// The scheduler starts a run within the minute, and its clock is not ours: a start just before the minute is that
/// minute's.
const PRECISION: i64 = 60_000;
/// Days that are looked through: eight years pass without a 29 February around the year 2100.
const DAYS: u32 = 9 * 366;

/// A time at which a run is to start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Due {
    /// The earliest.
    pub from: Millis,
    /// The latest: the end of the flexible window.
    pub until: Millis,
}

impl Schedule {
    /// When the next run is to start, if one started or ended at `after`. `None`: nothing starts by the clock, or that
    /// time never comes. The finding is that of [`Schedule::timed`]: it cannot be read.
    pub fn due_after(&self, after: Millis) -> Result<Option<Due>, Finding> {
        let (from, flexible) = match self {
            Schedule::Manual | Schedule::On(_) => return Ok(None),
            Schedule::Every(every) => (Some(after.plus(every.every.0)), every.flexible),
            Schedule::Cron(cron) => (next(&cron::read(&cron.cron)?, &cron.zone()?, after), cron.flexible),
        };
        Ok(from.map(|from| Due { from, until: flexible.map_or(from, |window| from.plus(window.0)) }))
    }
}

fn next(expression: &cron::Expression, zone: &TimeZone, after: Millis) -> Option<Millis> {
    let after = Timestamp::from_millisecond(after.0.checked_add(PRECISION)?).ok()?;
    let times = expression.times();
    let mut date = zone.to_datetime(after).date();
    for _ in 0..DAYS {
        let on =
            expression.has_day(date.month().unsigned_abs().into(), date.day().unsigned_abs().into(), weekday(date));
        let found = times.iter().filter(|_| on).find_map(|(hour, minute)| at(zone, date, *hour, *minute, after));
        if found.is_some() {
            return found;
        }
        date = date.tomorrow().ok()?;
    }
    None
}

/// That time of that day, if it exists and is after `after`. Where it comes twice, nobody says which of the two is
/// meant: it is past with the first of them, and missed only with the second.
fn at(zone: &TimeZone, date: Date, hour: u32, minute: u32, after: Timestamp) -> Option<Millis> {
    let time = date.at(i8::try_from(hour).ok()?, i8::try_from(minute).ok()?, 0, 0);
    let time = zone.to_ambiguous_timestamp(time);
    if matches!(time.offset(), AmbiguousOffset::Gap { .. }) {
        return None;
    }
    let (first, second) = (time.earlier().ok()?, time.later().ok()?);
    (first > after).then(|| Millis(second.as_millisecond()))
}

fn weekday(date: Date) -> u32 {
    date.weekday().to_sunday_zero_offset().unsigned_abs().into()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn millis(text: &str) -> Millis {
        Millis(text.parse::<Timestamp>().unwrap().as_millisecond())
    }

    fn due(schedule: serde_json::Value, after: &str) -> Option<Due> {
        serde_json::from_value::<Schedule>(schedule).unwrap().due_after(millis(after)).unwrap()
    }

    #[test]
    fn an_interval_is_over_once_and_a_window_later_at_the_latest() {
        let at = |text: &str| millis(text);
        assert_eq!(
            due(json!({ "every": "15m" }), "2026-01-02T03:04:05Z"),
            Some(Due { from: at("2026-01-02T03:19:05Z"), until: at("2026-01-02T03:19:05Z") })
        );
        assert_eq!(
            due(json!({ "every": "1 day", "flexible": "2h" }), "2026-01-02T03:04:05Z"),
            Some(Due { from: at("2026-01-03T03:04:05Z"), until: at("2026-01-03T05:04:05Z") })
        );
        assert_eq!(
            due(json!({ "cron": "0 9 * * *", "flexible": "30m" }), "2026-01-02T09:12:00Z"),
            Some(Due { from: at("2026-01-03T09:00:00Z"), until: at("2026-01-03T09:30:00Z") })
        );
    }

    #[test]
    fn what_does_not_start_by_the_clock_is_never_due() {
        for schedule in [json!("manual"), json!({ "on": { "source": "dbt" } }), json!({ "cron": "0 9 31 2 *" })] {
            assert_eq!(due(schedule.clone(), "2026-01-02T03:04:05Z"), None, "{schedule}");
        }
        for (schedule, about) in [
            (json!({ "cron": "hourly" }), "schedule.cron"),
            (json!({ "cron": "0 9 * * *", "timezone": "Mars/Base" }), "schedule.timezone"),
        ] {
            let schedule: Schedule = serde_json::from_value(schedule).unwrap();
            assert_eq!(schedule.due_after(Millis(0)).unwrap_err().about, about);
        }
    }

    #[test]
    fn the_next_time_of_a_cron_expression() {
        for (cron, zone, after, next) in [
            ("* * * * *", "UTC", "2026-01-02T03:04:05Z", "2026-01-02T03:06:00Z"),
            ("*/15 * * * *", "UTC", "2026-01-02T03:04:05Z", "2026-01-02T03:15:00Z"),
            ("10-30/10 8-18 * * *", "UTC", "2026-01-02T08:30:01Z", "2026-01-02T09:10:00Z"),
            ("0 9 * * *", "UTC", "2026-01-02T09:00:20Z", "2026-01-03T09:00:00Z"),
            ("0 9 * * *", "Europe/London", "2026-07-02T07:30:00Z", "2026-07-02T08:00:00Z"),
            ("0 9 * * *", "Asia/Tokyo", "2026-01-02T03:00:00Z", "2026-01-03T00:00:00Z"),
            // Friday evening to Monday; Sunday as 0, as 7 and by name.
            ("0 9 * * 1-5", "UTC", "2026-01-02T10:00:00Z", "2026-01-05T09:00:00Z"),
            ("0 9 * * 0", "UTC", "2026-01-02T10:00:00Z", "2026-01-04T09:00:00Z"),
            ("0 9 * * 7", "UTC", "2026-01-02T10:00:00Z", "2026-01-04T09:00:00Z"),
            ("0 9 * * 5-7", "UTC", "2026-01-03T10:00:00Z", "2026-01-04T09:00:00Z"),
            ("0 9 * * sat,mon", "UTC", "2026-01-02T10:00:00Z", "2026-01-03T09:00:00Z"),
            ("0 0 1,15 * *", "UTC", "2026-01-02T00:00:00Z", "2026-01-15T00:00:00Z"),
            ("0 0 31 * *", "UTC", "2026-01-31T01:00:00Z", "2026-03-31T00:00:00Z"),
            ("0 0 1 */3 *", "UTC", "2026-01-02T00:00:00Z", "2026-04-01T00:00:00Z"),
            ("0 0 29 2 *", "UTC", "2026-01-01T00:00:00Z", "2028-02-29T00:00:00Z"),
            ("0 0 29 2 *", "UTC", "2096-03-01T00:00:00Z", "2104-02-29T00:00:00Z"),
            // A start that our clock sees a moment before the minute, and one at its end.
            ("0 9 * * *", "UTC", "2026-01-02T08:59:59.900Z", "2026-01-03T09:00:00Z"),
            ("0 9 * * *", "UTC", "2026-01-02T08:58:00Z", "2026-01-02T09:00:00Z"),
        ] {
            let found = due(json!({ "cron": cron, "timezone": zone }), after).map(|due| due.from);
            assert_eq!(found, Some(millis(next)), "{cron} {zone} after {after}: {}", found.unwrap_or_default());
        }
    }

    #[test]
    fn clocks_that_are_turned() {
        for (cron, zone, after, next) in [
            // Forward on 2026-03-08, from 02:00 EST to 03:00 EDT: half past two is left out.
            ("30 2 * * *", "America/New_York", "2026-03-07T08:00:00Z", "2026-03-09T06:30:00Z"),
            ("*/30 * * * *", "America/New_York", "2026-03-08T06:30:10Z", "2026-03-08T07:00:00Z"),
            ("0 9 * * *", "America/New_York", "2026-03-07T14:00:10Z", "2026-03-08T13:00:00Z"),
            // Back on 2026-11-01, from 02:00 EDT to 01:00 EST: half past one comes twice, and is due at the second.
            ("30 1 * * *", "America/New_York", "2026-10-31T05:30:10Z", "2026-11-01T06:30:00Z"),
            // It ran at the first of them, or at the second: the next is tomorrow's.
            ("30 1 * * *", "America/New_York", "2026-11-01T05:30:10Z", "2026-11-02T06:30:00Z"),
            ("30 1 * * *", "America/New_York", "2026-11-01T06:30:10Z", "2026-11-02T06:30:00Z"),
            // Between the two, every half an hour: the repeated hour is not repeated.
            ("*/30 * * * *", "America/New_York", "2026-11-01T05:30:10Z", "2026-11-01T07:00:00Z"),
            ("0 9 * * *", "America/New_York", "2026-10-31T13:00:10Z", "2026-11-01T14:00:00Z"),
            // Half an hour, and the other half of the earth.
            ("45 1 * * *", "Australia/Lord_Howe", "2026-04-03T14:45:10Z", "2026-04-04T15:15:00Z"),
            // A whole day that never was: Samoa went from 29 to 31 December 2011.
            ("0 9 30 12 *", "Pacific/Apia", "2011-12-01T00:00:00Z", "2012-12-29T19:00:00Z"),
        ] {
            let found = due(json!({ "cron": cron, "timezone": zone }), after).map(|due| due.from);
            assert_eq!(found, Some(millis(next)), "{cron} {zone} after {after}: {}", found.unwrap_or_default());
        }
    }
}
