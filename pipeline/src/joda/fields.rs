//! Makes a moment of the fields that were read from a date.
use jiff::civil::{Date, DateTime, ISOWeekDate, Time, Weekday};
use jiff::tz::{AmbiguousOffset, Offset, TimeZone};
use jiff::{SignedDuration, Timestamp};

use super::pattern::Number;

/// How far in the future a date whose year is guessed may be: clocks differ.
const FUTURE: SignedDuration = SignedDuration::from_hours(24);

/// What to fill in where a date does not say.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Guess<'a> {
    /// The zone of a date that names none.
    pub(crate) zone: &'a TimeZone,
    /// The present, by which a missing year or century is guessed.
    pub(crate) now: Timestamp,
}

/// A zone named in a date.
#[derive(Clone, Debug)]
pub(super) enum Zone {
    Offset(Offset),
    Named(TimeZone),
}

/// The fields read from a date; those absent take their smallest value, the year is guessed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fields {
    pub(super) before_christ: bool,
    century: Option<i32>,
    year: Option<i32>,
    pub(super) short_year: Option<i32>,
    week: Option<i8>,
    weekday: Option<i8>,
    day_of_year: Option<i32>,
    month: Option<i8>,
    day: Option<i8>,
    hour: i8,
    hour_of_half: Option<i8>,
    pub(super) afternoon: Option<bool>,
    minute: i8,
    second: i8,
    pub(super) nanos: i32,
    pub(super) zone: Option<Zone>,
}

impl Fields {
    /// Sets one number; `None` when it cannot be that number.
    pub(super) fn set(&mut self, field: Number, value: i32) -> Option<()> {
        let small = i8::try_from(value);
        let within = |max: i8| small.ok().filter(|v| (0..=max).contains(v));
        match field {
            Number::Century => self.century = Some(value),
            Number::YearOfEra | Number::Year | Number::WeekYear => self.year = Some(value),
            Number::Week => self.week = Some(within(53)?),
            Number::DayOfWeek => self.weekday = Some(within(7)?),
            Number::DayOfYear => self.day_of_year = Some(value),
            Number::Month => self.month = Some(within(12)?),
            Number::Day => self.day = Some(within(31)?),
            Number::HourOfHalf => self.hour_of_half = Some(within(11)?),
            Number::ClockHourOfHalf => {
                self.hour_of_half = Some(within(12).filter(|h| *h > 0)? % 12);
            }
            Number::Hour => self.hour = within(23)?,
            Number::ClockHour => self.hour = within(24).filter(|h| *h > 0)? % 24,
            Number::Minute => self.minute = within(59)?,
            // A leap second is taken for the second before it: the day has no other place for it.
            Number::Second => self.second = within(60)?.min(59),
        }
        Some(())
    }

    /// The moment meant; `None` when there is no such date, or no such local time (a clock was put forward over it).
    pub(crate) fn moment(&self, guess: Guess<'_>) -> Option<Timestamp> {
        let time = Time::new(self.hour_of_day(), self.minute, self.second, self.nanos).ok()?;
        let year = self.year_meant(guess.now);
        match &self.zone {
            Some(Zone::Offset(offset)) => {
                let at = |local: DateTime| offset.to_timestamp(local).ok();
                match year {
                    Some(year) => at(self.date(year)?.to_datetime(time)),
                    None => self.latest(offset.to_datetime(guess.now).year(), time, guess.now, &at),
                }
            }
            named => {
                let zone = match named {
                    Some(Zone::Named(zone)) => zone,
                    _ => guess.zone,
                };
                let at = |local: DateTime| instant(local, zone);
                match year {
                    Some(year) => at(self.date(year)?.to_datetime(time)),
                    None => self.latest(zone.to_datetime(guess.now).year(), time, guess.now, &at),
                }
            }
        }
    }

    /// The latest moment, in whatever year, that is not in the future (as far as clocks can be trusted).
    fn latest(
        &self,
        this_year: i16,
        time: Time,
        now: Timestamp,
        at: &dyn Fn(DateTime) -> Option<Timestamp>,
    ) -> Option<Timestamp> {
        let limit = now.checked_add(FUTURE).unwrap_or(Timestamp::MAX);
        // Leap days are at most eight years apart.
        let years = (i32::from(this_year) - 8..=i32::from(this_year) + 1).rev();
        years.filter_map(|year| at(self.date(year)?.to_datetime(time))).find(|moment| *moment <= limit)
    }

    fn hour_of_day(&self) -> i8 {
        match self.hour_of_half {
            Some(hour) if self.afternoon == Some(true) => hour + 12,
            Some(hour) => hour,
            None => self.hour,
        }
    }

    fn year_meant(&self, now: Timestamp) -> Option<i32> {
        let year = match (self.year, self.century, self.short_year) {
            (Some(year), _, _) => year,
            (None, Some(century), within) => century * 100 + within.unwrap_or(0),
            (None, None, Some(within)) => windowed(within, now),
            (None, None, None) => return None,
        };
        Some(if self.before_christ { 1 - year } else { year })
    }

    fn date(&self, year: i32) -> Option<Date> {
        let year = i16::try_from(year).ok()?;
        if let Some(week) = self.week {
            let weekday = Weekday::from_monday_one_offset(self.weekday.unwrap_or(1)).ok()?;
            return Some(ISOWeekDate::new(year, week, weekday).ok()?.date());
        }
        if let Some(day) = self.day_of_year {
            let first = Date::new(year, 1, 1).ok()?;
            let within = (1..=i32::from(first.days_in_year())).contains(&day);
            return within
                .then(|| first.checked_add(SignedDuration::from_hours(24 * i64::from(day - 1))))?
                .ok();
        }
        // The day of the week says nothing new beside a date, and is not worth losing an event over when wrong.
        Date::new(year, self.month.unwrap_or(1), self.day.unwrap_or(1)).ok()
    }
}

/// The year that ends in `within` and lies in the hundred years that start 80 years ago.
fn windowed(within: i32, now: Timestamp) -> i32 {
    let start = i32::from(Offset::UTC.to_datetime(now).year()) - 80;
    start + (within - start).rem_euclid(100)
}

/// The moment of a local time: of two, the earlier; in a gap, none.
fn instant(local: DateTime, zone: &TimeZone) -> Option<Timestamp> {
    let ambiguous = zone.to_ambiguous_timestamp(local);
    match ambiguous.offset() {
        AmbiguousOffset::Gap { .. } => None,
        AmbiguousOffset::Unambiguous { .. } | AmbiguousOffset::Fold { .. } => ambiguous.earlier().ok(),
    }
}
