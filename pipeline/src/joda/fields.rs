//! Makes a moment of the fields that were read from a date, as Joda does.
use jiff::civil::{Date, DateTime, ISOWeekDate, Time, Weekday};
use jiff::tz::{AmbiguousOffset, Offset, TimeZone};
use jiff::{Span, Timestamp};

use super::pattern::Number;

/// What to fill in where a date does not say.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Guess<'a> {
    /// The zone of a date that names none.
    pub(crate) zone: &'a TimeZone,
    /// The present day on this machine, by which a missing year or century is guessed.
    pub(crate) today: Date,
}

/// A zone named in a date.
#[derive(Clone, Debug)]
pub(super) enum Zone {
    Offset(Offset),
    Named(TimeZone),
}

/// How the year is guessed of a date in which it does not stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct YearGuess {
    /// Whether an offset stands in the date, so that its month is known only once the offset is.
    pub(super) with_offset: bool,
}

/// The fields read from a date. What is absent takes its smallest value, and the year 1970.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fields {
    pub(super) before_christ: bool,
    century: Option<i32>,
    year: Option<i32>,
    week_year: Option<i32>,
    pub(super) short_year: Option<i32>,
    pub(super) short_week_year: Option<i32>,
    week: Option<i8>,
    weekday: Option<i8>,
    day_of_year: Option<i32>,
    month: Option<i8>,
    day: Option<i8>,
    hour: Option<i8>,
    hour_of_half: Option<i8>,
    pub(super) afternoon: Option<bool>,
    minute: i8,
    second: i8,
    /// Whether anything of a time stands there.
    pub(super) timed: bool,
    /// What is more than the last of hour, minute and second.
    pub(super) millis: i64,
    pub(super) zone: Option<Zone>,
    pub(super) guess: Option<YearGuess>,
}

impl Fields {
    /// Sets one number; `None` when it cannot be that number.
    pub(super) fn set(&mut self, field: Number, value: i32) -> Option<()> {
        let small = i8::try_from(value);
        let within = |min: i8, max: i8| small.ok().filter(|v| (min..=max).contains(v));
        self.timed |= matches!(
            field,
            Number::HourOfHalf
                | Number::ClockHourOfHalf
                | Number::Hour
                | Number::ClockHour
                | Number::Minute
                | Number::Second
        );
        match field {
            Number::Century => self.century = Some(value),
            Number::YearOfEra | Number::Year => self.year = Some(value),
            Number::WeekYear => self.week_year = Some(value),
            Number::Week => self.week = Some(within(1, 53)?),
            Number::DayOfWeek => self.weekday = Some(within(1, 7)?),
            Number::DayOfYear => self.day_of_year = Some(value),
            Number::Month => self.month = Some(within(1, 12)?),
            Number::Day => self.day = Some(within(1, 31)?),
            Number::HourOfHalf => self.hour_of_half = Some(within(0, 11)?),
            Number::ClockHourOfHalf => self.hour_of_half = Some(within(1, 12)? % 12),
            Number::Hour => self.hour = Some(within(0, 23)?),
            Number::ClockHour => self.hour = Some(within(1, 24)? % 24),
            Number::Minute => self.minute = within(0, 59)?,
            Number::Second => self.second = within(0, 59)?,
        }
        Some(())
    }

    /// The moment meant; `None` when there is no such date, or no such local time (a clock was put forward over it).
    pub(crate) fn moment(&self, guess: Guess<'_>) -> Option<Timestamp> {
        let local = self.local(guess.today)?;
        let Some(YearGuess { with_offset }) = self.guess else { return self.instant(local, guess.zone) };
        // The year is told by the month, which is that of the zone of dates that name none.
        let local = match with_offset {
            true => guess.zone.to_datetime(self.instant(local, guess.zone)?),
            false => guess.zone.to_datetime(instant(local, guess.zone)?),
        };
        let today = guess.today;
        let year = match (local.month(), today.month()) {
            (12, 1) => today.year() - 1,
            (1, 12) => today.year() + 1,
            _ => today.year(),
        };
        let day = with_year(local.date(), i32::from(year))?;
        guess.zone.to_ambiguous_timestamp(day.to_datetime(local.time())).compatible().ok()
    }

    fn instant(&self, local: DateTime, zone: &TimeZone) -> Option<Timestamp> {
        match &self.zone {
            Some(Zone::Offset(offset)) => offset.to_timestamp(local).ok(),
            Some(Zone::Named(zone)) => instant(local, zone),
            None => instant(local, zone),
        }
    }

    fn local(&self, today: Date) -> Option<DateTime> {
        let time = Time::new(self.hour_of_day(), self.minute, self.second, 0).ok()?;
        let local = self.date(today)?.to_datetime(time);
        local.checked_add(Span::new().milliseconds(self.millis)).ok()
    }

    /// The hour. Where it stands there both of the day and of the half, the half decides only what the other leaves open.
    fn hour_of_day(&self) -> i8 {
        let half = i8::from(self.afternoon == Some(true)) * 12;
        match (self.hour, self.hour_of_half) {
            (Some(hour), None) => hour,
            (Some(hour), Some(of_half)) => hour / 12 * 12 + of_half,
            (None, of_half) => half + of_half.unwrap_or(0),
        }
    }

    /// The day, found as Joda does: the fields are set one after the other, the largest first, in two rounds, of which
    /// the first begins each field anew. So a day of the week beside a date moves it within its week.
    fn date(&self, today: Date) -> Option<Date> {
        let in_year = self.month.is_some()
            || self.week.is_some()
            || self.day_of_year.is_some()
            || self.day.is_some()
            || self.weekday.is_some();
        let week_year = self.week_year.or_else(|| self.short_week_year.map(|within| windowed(within, today)));
        let missing = || (week_year.is_none() && in_year).then(|| i32::from(today.year()));
        let year = self.year_meant(today).or_else(missing);
        let last = if self.timed { None } else { self.smallest(year.is_some()) };
        let mut day = Date::constant(1970, 1, 1);
        for round in [0, 1] {
            // The last of all fields begins anew in the second round, too.
            let anew = |field: Number| round == 0 || last == Some(field);
            if let Some(year) = year {
                day = with_year(day, year)?;
                day = if anew(Number::Year) { day.first_of_year() } else { day };
            }
            if let Some(year) = week_year {
                day = with_week_year(day, year, anew(Number::WeekYear))?;
            }
            if let Some(month) = self.month {
                day = with_month(day, month)?;
                day = if anew(Number::Month) { day.first_of_month() } else { day };
            }
            if let Some(week) = self.week {
                day = with_week(day, week, anew(Number::Week))?;
            }
            if let Some(number) = self.day_of_year {
                day = with_day_of_year(day, number)?;
            }
            if let Some(number) = self.day {
                day = day.with().day(number).build().ok()?;
            }
            if let Some(weekday) = self.weekday {
                let more = weekday - day.weekday().to_monday_one_offset();
                day = day.checked_add(Span::new().days(more)).ok()?;
            }
        }
        Some(day)
    }

    /// The smallest field of a date without a time that is more than a day.
    fn smallest(&self, year: bool) -> Option<Number> {
        if self.day_of_year.is_some() || self.day.is_some() || self.weekday.is_some() {
            return None;
        }
        let fields = [
            (self.week.is_some(), Number::Week),
            (self.month.is_some(), Number::Month),
            (self.week_year.is_some() || self.short_week_year.is_some(), Number::WeekYear),
            (year, Number::Year),
        ];
        fields.into_iter().find(|(there, _)| *there).map(|(_, field)| field)
    }

    fn year_meant(&self, today: Date) -> Option<i32> {
        let year = match (self.year, self.century, self.short_year) {
            (Some(year), _, _) => year,
            (None, Some(century), within) => century * 100 + within.unwrap_or(0),
            (None, None, Some(within)) => windowed(within, today),
            (None, None, None) => return None,
        };
        Some(if self.before_christ { 1 - year } else { year })
    }
}

/// The day of the same name in another year; of a leap day, the one before.
fn with_year(day: Date, year: i32) -> Option<Date> {
    let year = i16::try_from(year).ok()?;
    let changed = |day: Date| day.with().year(year).build().ok();
    changed(day).or_else(|| changed(day.yesterday().ok()?))
}

fn with_week_year(day: Date, year: i32, anew: bool) -> Option<Date> {
    let year = i16::try_from(year).ok()?;
    let of = |week, weekday| ISOWeekDate::new(year, week, weekday).ok();
    let first = of(1, Weekday::Monday)?;
    let now = day.iso_week_date();
    let same = || of(now.week(), now.weekday()).or_else(|| of(52, now.weekday()));
    Some(if anew { first } else { same()? }.date())
}

fn with_month(day: Date, month: i8) -> Option<Date> {
    let first = day.first_of_month().with().month(month).build().ok()?;
    first.with().day(day.day().min(first.days_in_month())).build().ok()
}

fn with_week(day: Date, week: i8, anew: bool) -> Option<Date> {
    let now = day.iso_week_date();
    ISOWeekDate::new(now.year(), week, now.weekday()).ok()?;
    let moved = day.checked_add(Span::new().weeks(week - now.week())).ok()?;
    let back = if anew { moved.weekday().to_monday_zero_offset() } else { 0 };
    moved.checked_sub(Span::new().days(back)).ok()
}

fn with_day_of_year(day: Date, number: i32) -> Option<Date> {
    let within = (1..=i32::from(day.days_in_year())).contains(&number);
    within.then(|| day.first_of_year().checked_add(Span::new().days(number - 1)))?.ok()
}

/// The year that ends in `within` and lies in the hundred years that start 80 years ago.
fn windowed(within: i32, today: Date) -> i32 {
    let start = i32::from(today.year()) - 80;
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
