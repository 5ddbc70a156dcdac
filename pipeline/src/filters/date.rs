//! Reads a date from a field, and makes it the event's moment.
use std::sync::Arc;

use jiff::tz::TimeZone;
use jiff::{Zoned, civil};

use super::tag;
use crate::batch::{Batch, Fate, Filter};
use crate::event::Event;
use crate::field::FieldRef;
use crate::joda::{Format, Guess, Locale, Stamp, zone_named};
use crate::lang::kinds::Placed;
use crate::lang::problems::Problems;
use crate::mistake::Mistake;
use crate::plan::CommonFilter;
use crate::plugins::FilterOptions;
use crate::spec::plugin;
use crate::success::OnSuccess;
use crate::template::Template;
use crate::value::{Text, Timestamp, Value};

plugin! {
    /// Reads a date from a field, and makes it the event's `@timestamp`.
    ///
    /// ```
    /// filter { date { match => ["timestamp", "dd/MMM/yyyy:HH:mm:ss Z", "ISO8601"] remove_field => "timestamp" } }
    /// ```
    ///
    /// `match` names the field and then the forms to try, in order: `match => ["time", "dd/MMM/yyyy:HH:mm:ss Z", "ISO8601"]`.
    /// A form is `ISO8601`, `UNIX` (seconds since 1970), `UNIX_MS` (milliseconds), `TAI64N`, or a pattern of letters:
    ///
    /// | letters | meaning |
    /// |---|---|
    /// | `yyyy`, `yy` | the year, its last two digits |
    /// | `MM`, `MMM` | the month, its name in short or long form |
    /// | `dd`, `DDD`, `EEE` | the day of the month, of the year, its name |
    /// | `HH`, `hh`, `a` | the hour of 24, of 12, AM or PM |
    /// | `mm`, `ss`, `SSS` | the minute, the second, its fraction |
    /// | `Z`, `ZZZ`, `z` | the zone as an offset, as a name (`Europe/Berlin`), as an abbreviation (`UTC`, `GMT`, `EST`, `CST`, `MST`, `PST`) |
    /// | `xxxx`, `ww`, `e` | the year, the week and the day of ISO weeks |
    /// | `'at'`, `''` | text that stands for itself, a quote |
    ///
    /// Moments are kept to the millisecond. A date without a year is one of the present year; in January those of December are
    /// of the year before, in December those of January of the next. A day of the week beside a date moves it within its week.
    /// A local time that does not exist because a clock was put forward is a failure; of two that exist the earlier is meant.
    /// Only `UNIX` and `UNIX_MS` read numbers. An event without the field, or in which it is null, is left as it is.
    filter "date" => pub(crate) struct DateOptions {
        /// The field, followed by the forms to try.
        r#match: Vec<Placed<String>>,
        /// The field to put the moment into.
        target: FieldRef = "@timestamp",
        /// The zone of dates that do not name one, such as `Europe/Berlin` or `+01:00`; this machine's when left out.
        timezone: Option<Placed<String>>,
        /// The language of names of months and days.
        locale: Placed<String> = "en",
        /// The tags to add when no form fits.
        tag_on_failure: Vec<String> = ["_dateparsefailure"],
    }
    validate = check_forms
}

/// One form of dates to try.
#[derive(Clone, Debug)]
enum Form {
    Stamp(Stamp),
    Pattern(Format),
}

impl Form {
    fn parse(text: &str) -> Result<Self, Mistake> {
        match Stamp::named(text) {
            Some(stamp) => Ok(Self::Stamp(stamp)),
            None => Format::parse(text).map(Self::Pattern),
        }
    }

    fn read(&self, value: &Value, locale: &Locale, guess: Option<Guess<'_>>) -> Option<Timestamp> {
        match (self, value) {
            // What counts from 1970 needs no zone.
            (Self::Stamp(stamp @ (Stamp::Unix | Stamp::UnixMs)), Value::Int(number)) => {
                stamp.count_whole(*number)
            }
            (Self::Stamp(stamp @ (Stamp::Unix | Stamp::UnixMs)), Value::Float(number)) => {
                stamp.count(*number)
            }
            (Self::Stamp(stamp @ (Stamp::Unix | Stamp::UnixMs | Stamp::Tai64n)), Value::Str(text)) => {
                let nowhere = Guess { zone: &TimeZone::UTC, today: civil::Date::ZERO };
                stamp.read(text, nowhere)
            }
            (Self::Stamp(stamp), Value::Str(text)) => stamp.read(text, guess?),
            (Self::Pattern(format), Value::Str(text)) => format.read(text, locale)?.moment(guess?),
            _ => None,
        }
    }
}

fn check_forms(options: &DateOptions, problems: &mut Problems) {
    if let [field, forms @ ..] = options.r#match.as_slice() {
        if let Err(error) = FieldRef::parse(field) {
            problems.error(field.span, error.to_string());
        }
        if forms.is_empty() {
            problems
                .error(field.span, "no form of dates is given")
                .hint("write the field, then the forms: `[\"time\", \"ISO8601\"]`");
        }
        for form in forms {
            if let Err(mistake) = Form::parse(form) {
                mistake.report(form, problems);
            }
        }
    }
    if let Some(zone) = &options.timezone
        && Template::parse(zone).as_literal().is_some()
        && zone_named(zone).is_none()
    {
        problems
            .error(zone.span, format!("there is no time zone named `{}`", zone.value))
            .hint("write a name such as `Europe/Berlin` or an offset such as `+01:00`");
    }
    if Locale::named(&options.locale).is_none() {
        problems
            .error(
                options.locale.span,
                format!("dates cannot be read in the language `{}`", options.locale.value),
            )
            .hint(format!("it can be one of {}", Locale::languages()));
    }
}

impl FilterOptions for DateOptions {
    fn build(&self, on_success: &Arc<CommonFilter>) -> Result<Box<dyn Filter>, String> {
        let (field, forms) = self.r#match.split_first().ok_or("`match` is empty")?;
        let forms: Result<_, Mistake> = forms.iter().map(|form| Form::parse(form)).collect();
        let zone = match &self.timezone {
            None => Zone::Fixed(TimeZone::system()),
            Some(name) => match Template::parse(name) {
                name if name.as_literal().is_none() => Zone::Filled { name, last: None },
                _ => Zone::Fixed(zone_named(name).ok_or("`timezone` names no time zone")?),
            },
        };
        Ok(Box::new(Date {
            field: FieldRef::parse(field).map_err(|error| error.to_string())?,
            forms: forms.map_err(|mistake| mistake.to_string())?,
            zone,
            locale: Locale::named(&self.locale).ok_or("`locale` names no known language")?,
            target: self.target.clone(),
            tag_on_failure: self.tag_on_failure.clone(),
            on_success: OnSuccess::new(on_success),
        }))
    }
}

struct Date {
    field: FieldRef,
    forms: Vec<Form>,
    zone: Zone,
    locale: Locale,
    target: FieldRef,
    tag_on_failure: Vec<String>,
    on_success: OnSuccess,
}

/// The zone of dates that do not name one.
enum Zone {
    Fixed(TimeZone),
    /// Each event names it; the last one is remembered, because looking one up takes longer than reading a date.
    Filled {
        name: Template,
        last: Option<(Text, TimeZone)>,
    },
}

impl Zone {
    fn of(&mut self, event: &Event) -> Option<&TimeZone> {
        match self {
            Self::Fixed(zone) => Some(zone),
            Self::Filled { name, last } => {
                let name = name.render(event);
                if last.as_ref().is_none_or(|(known, _)| *known != name) {
                    let zone = zone_named(&name)?;
                    *last = Some((name, zone));
                }
                last.as_ref().map(|(_, zone)| zone)
            }
        }
    }
}

impl Filter for Date {
    fn run(&mut self, batch: &mut Batch) {
        let today = Zoned::now().date();
        batch.each(|event| {
            self.work(event, today);
            Fate::Keep
        });
    }
}

impl Date {
    fn work(&mut self, event: &mut Event, today: civil::Date) {
        let Some(value) = event.get(&self.field).filter(|value| **value != Value::Null) else { return };
        let guess = self.zone.of(event).map(|zone| Guess { zone, today });
        let moment = self.forms.iter().find_map(|form| form.read(value, &self.locale, guess));
        match moment {
            Some(moment) if event.set(&self.target, Value::Time(moment)).is_ok() => {
                self.on_success.apply(event)
            }
            _ => tag(event, &self.tag_on_failure),
        }
    }
}
