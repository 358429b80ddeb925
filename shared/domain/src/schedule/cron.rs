//! Five fields of cron in the six of EventBridge Scheduler. It counts the days of the week from 1 (Sunday), knows
//! increments only from a number on, has a year, and wants a `?` in one of the two fields of days.
//! <https://docs.aws.amazon.com/scheduler/latest/UserGuide/schedule-types.html#cron-based>

use std::collections::BTreeSet;

use crate::finding::Finding;

/// A field: its name, the numbers it takes, and names for them.
struct CronField {
    name: &'static str,
    least: u32,
    most: u32,
    names: &'static [&'static str],
}

const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const DAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];
const FIELDS: [CronField; 5] = [
    CronField { name: "minute", least: 0, most: 59, names: &[] },
    CronField { name: "hour", least: 0, most: 23, names: &[] },
    CronField { name: "day of month", least: 1, most: 31, names: &[] },
    CronField { name: "month", least: 1, most: 12, names: &MONTHS },
    // 7 is Sunday too.
    CronField { name: "day of week", least: 0, most: 7, names: &DAYS },
];

/// One part of a field, between commas: from, to, and every so many.
#[derive(Clone, Copy)]
struct CronPart {
    from: u32,
    to: u32,
    step: u32,
}

/// An expression, read: the parts of each field, none where it is not restricted. Never both kinds of days.
pub struct Expression {
    minute: Option<Vec<CronPart>>,
    hour: Option<Vec<CronPart>>,
    day: Option<Vec<CronPart>>,
    month: Option<Vec<CronPart>>,
    weekday: Option<Vec<CronPart>>,
}

/// Reads five fields. The finding says what is wrong with them, or what the scheduler cannot do.
pub fn read(text: &str) -> Result<Expression, Finding> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let [minute, hour, day, month, weekday] = words[..] else {
        return Err(wrong(
            text,
            "has not five fields",
            "write minute, hour, day of month, month, day of week: `0 9 * * 1-5`",
        ));
    };
    let read = |index: usize, word: &str| {
        FIELDS[index].read(word).map_err(|what| wrong(text, &what, "correct that field, such as in `0 9 * * 1-5`"))
    };
    let expression = Expression {
        minute: read(0, minute)?,
        hour: read(1, hour)?,
        day: read(2, day)?,
        month: read(3, month)?,
        weekday: read(4, weekday)?,
    };
    if expression.day.is_some() && expression.weekday.is_some() {
        return Err(Finding::warning(
            "schedule.cron",
            format!(
                "`{text}` names days of the month and days of the week: cron means either, and the scheduler on AWS cannot say that"
            ),
            "leave one of the two `*`, and make a second sync if both are needed",
        ));
    }
    Ok(expression)
}

/// The expression for the scheduler.
pub fn translate(text: &str) -> Result<String, Finding> {
    let Expression { minute, hour, day, month, weekday } = read(text)?;
    let days = match (day, weekday) {
        (Some(day), _) => (written(&day, 31), "?".into()),
        (None, Some(weekday)) => ("?".into(), week(&weekday)),
        (None, None) => ("*".into(), "?".into()),
    };
    let all = |parts: Option<Vec<CronPart>>, most: u32| parts.map_or("*".to_owned(), |parts| written(&parts, most));
    Ok(format!("cron({} {} {} {} {} *)", all(minute, 59), all(hour, 23), days.0, all(month, 12), days.1))
}

impl Expression {
    /// True on this day: the month and the day of it from 1, the day of the week from 0, Sunday.
    pub fn has_day(&self, month: u32, day: u32, weekday: u32) -> bool {
        let of_week = has(self.weekday.as_deref(), weekday) || weekday == 0 && has(self.weekday.as_deref(), 7);
        has(self.month.as_deref(), month) && has(self.day.as_deref(), day) && of_week
    }

    /// The times of such a day, hours and minutes, in order.
    pub fn times(&self) -> Vec<(u32, u32)> {
        let minutes: Vec<u32> = (0..60).filter(|minute| has(self.minute.as_deref(), *minute)).collect();
        let hours = (0..24).filter(|hour| has(self.hour.as_deref(), *hour));
        hours.flat_map(|hour| minutes.iter().map(move |minute| (hour, *minute))).collect()
    }
}

fn has(parts: Option<&[CronPart]>, number: u32) -> bool {
    parts.is_none_or(|parts| {
        parts.iter().any(|p| (p.from..=p.to).contains(&number) && (number - p.from).is_multiple_of(p.step))
    })
}

fn wrong(text: &str, what: &str, fix: &str) -> Finding {
    Finding::error("schedule.cron", format!("`{text}` {what}"), fix)
}

impl CronField {
    /// The parts of a field; `None` when it is not restricted. The error completes "`0 9 * * 8` …".
    fn read(&self, word: &str) -> Result<Option<Vec<CronPart>>, String> {
        if word == "*" || word == "?" && self.name.starts_with("day") {
            return Ok(None);
        }
        word.split(',').map(|part| self.part(part)).collect::<Result<_, _>>().map(Some)
    }

    fn part(&self, text: &str) -> Result<CronPart, String> {
        let (range, step) = match text.split_once('/') {
            Some((range, step)) => {
                (range, Some(step.parse().ok().filter(|s| (1..=self.most).contains(s)).ok_or_else(|| self.not(text))?))
            }
            None => (text, None),
        };
        let (from, to) = match range.split_once('-') {
            _ if range == "*" => (self.least, if self.most == 7 { 6 } else { self.most }),
            Some((from, to)) => (self.number(from)?, self.number(to)?),
            None if step.is_some() => {
                return Err(format!(
                    "has `{text}` as {}: steps go through `*` or a range, as in `*/15` or `10-50/20`",
                    self.name
                ));
            }
            None => (self.number(range)?, self.number(range)?),
        };
        if from > to {
            return Err(format!("has `{text}` as {}, a range that runs backwards", self.name));
        }
        Ok(CronPart { from, to, step: step.unwrap_or(1) })
    }

    fn number(&self, text: &str) -> Result<u32, String> {
        let name = text.to_ascii_lowercase();
        if let Some(at) = self.names.iter().position(|n| *n == name) {
            return Ok(at as u32 + self.least);
        }
        let digits = !text.is_empty() && text.len() <= 2 && text.bytes().all(|b| b.is_ascii_digit());
        text.parse().ok().filter(|n| digits && (self.least..=self.most).contains(n)).ok_or_else(|| self.not(text))
    }

    fn not(&self, text: &str) -> String {
        format!("has `{text}` as {}, which goes from {} to {}", self.name, self.least, self.most)
    }
}

/// Parts as the scheduler reads them: an increment counts from a number to the end of the field.
fn written(parts: &[CronPart], most: u32) -> String {
    let part = |p: &CronPart| match p {
        CronPart { from, to, .. } if from == to => from.to_string(),
        CronPart { from, to, step: 1 } => format!("{from}-{to}"),
        CronPart { from, to, step } if *to == most => format!("{from}/{step}"),
        CronPart { from, to, step } => {
            (*from..=*to).step_by(*step as usize).map(|n| n.to_string()).collect::<Vec<_>>().join(",")
        }
    };
    parts.iter().map(part).collect::<Vec<_>>().join(",")
}

/// Days of the week, Sunday as 1: a range where they follow each other, else a list. Increments are not known there.
fn week(parts: &[CronPart]) -> String {
    let days: BTreeSet<u32> =
        parts.iter().flat_map(|p| (p.from..=p.to).step_by(p.step as usize)).map(|day| day % 7 + 1).collect();
    match (days.first(), days.last()) {
        (Some(first), Some(last)) if days.len() > 2 && (last - first) as usize + 1 == days.len() => {
            format!("{first}-{last}")
        }
        _ => days.iter().map(u32::to_string).collect::<Vec<_>>().join(","),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cron_is_told_in_the_schedulers_words() {
        for (cron, aws) in [
            ("* * * * *", "* * * * ? *"),
            ("0 9 * * *", "0 9 * * ? *"),
            ("0 9 * * 1-5", "0 9 ? * 2-6 *"),
            ("0 9 * * mon-FRI", "0 9 ? * 2-6 *"),
            ("0 9 * * 0", "0 9 ? * 1 *"),
            ("0 9 * * 7", "0 9 ? * 1 *"),
            ("0 9 * * sun", "0 9 ? * 1 *"),
            ("0 9 * * 6", "0 9 ? * 7 *"),
            ("0 9 * * 5-7", "0 9 ? * 1,6,7 *"),
            ("0 9 * * 0,6", "0 9 ? * 1,7 *"),
            ("0 9 * * 1,3,5", "0 9 ? * 2,4,6 *"),
            ("0 9 * * */2", "0 9 ? * 1,3,5,7 *"),
            ("0 9 * * 0-7", "0 9 ? * 1-7 *"),
            ("0 9 1 * *", "0 9 1 * ? *"),
            ("0 9 1,15 * ?", "0 9 1,15 * ? *"),
            ("0 9 ? * 1", "0 9 ? * 2 *"),
            ("*/15 * * * *", "0/15 * * * ? *"),
            ("5-59/15 * * * *", "5/15 * * * ? *"),
            ("10-30/10 8-18 * * *", "10,20,30 8-18 * * ? *"),
            ("0 */6 * * *", "0 0/6 * * ? *"),
            ("0 0 */10 * *", "0 0 1/10 * ? *"),
            ("0 0 1 jan,JUL *", "0 0 1 1,7 ? *"),
            ("0 0 1 */3 *", "0 0 1 1/3 ? *"),
            ("  5   4  *  *  * ", "5 4 * * ? *"),
        ] {
            assert_eq!(translate(cron), Ok(format!("cron({aws})")), "{cron}");
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (cron, part) in [
            ("hourly", "has not five fields"),
            ("0 9 * * * *", "has not five fields"),
            ("60 9 * * *", "`60` as minute, which goes from 0 to 59"),
            ("0 24 * * *", "as hour"),
            ("0 9 0 * *", "as day of month, which goes from 1 to 31"),
            ("0 9 * 13 *", "as month"),
            ("0 9 * * 8", "as day of week"),
            ("0 9 * * noday", "`noday` as day of week"),
            ("0 9 * * 5-1", "runs backwards"),
            ("*/0 9 * * *", "as minute"),
            ("5/15 9 * * *", "steps go through"),
            ("+5 9 * * *", "as minute"),
            ("1,,2 9 * * *", "as minute"),
            ("? 9 * * *", "as minute"),
            ("0 9 L * *", "as day of month"),
        ] {
            let finding = translate(cron).unwrap_err();
            assert!(finding.is_error() && finding.what.contains(part), "{cron}: {finding}");
        }
    }

    #[test]
    fn days_of_month_and_week_together_cannot_be_said() {
        let finding = translate("0 9 1 * 1").unwrap_err();
        assert!(
            !finding.is_error()
                && finding.what.contains("cron means either")
                && finding.fix.contains("leave one of the two"),
            "{finding}"
        );
    }
}
