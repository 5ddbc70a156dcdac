//! Takes apart lines of comma-separated values.
mod dates;

use std::sync::{Arc, OnceLock};

use jiff::tz::TimeZone;

use crate::batch::{Batch, Fate, Filter};
use crate::csv::Dialect;
use crate::event::Event;
use crate::field::FieldRef;
use crate::lang::kinds::{Hash, Placed};
use crate::lang::problems::Problems;
use crate::plan::CommonFilter;
use crate::plugins::{FilterOptions, Shared};
use crate::ruby;
use crate::spec::{plugin, words};
use crate::success::OnSuccess;
use crate::value::{Decimal, Text, Value};

/// The tag of an event whose text is no line of values.
const FAILURE: &str = "_csvparsefailure";
/// The tag of an event whose text is empty, with `skip_empty_rows`.
const EMPTY: &str = "_csvskippedemptyfield";

plugin! {
    /// Takes apart a line of comma-separated values, and puts each value into a field.
    ///
    /// ```
    /// filter { csv { columns => ["name", "size"] convert => { "size" => "integer" } } }
    /// ```
    ///
    /// A value in quotes may hold separators, ends of lines, and quotes, doubled. A value that is empty and not quoted is null.
    /// A text that is no such line gets the tag `_csvparsefailure`.
    filter "csv" => pub(crate) struct CsvOptions {
        /// The field that holds the line.
        source: FieldRef = "message",
        /// The field to put the columns into; the event itself when left out.
        target: Option<FieldRef>,
        /// The names of the columns. Columns beyond them are named `column4` and so on.
        columns: Vec<String> = [],
        /// What separates the columns.
        separator: Placed<String> = ",",
        /// The character that quotes a value; `\x00` for none.
        quote_char: Placed<String> = "\"",
        /// Whether columns without a name get one; else they are left out.
        autogenerate_column_names: bool = true,
        /// Take the names of the columns from the first line that is seen, which is dropped.
        autodetect_column_names: bool = false,
        /// Drop lines that hold the names of the columns.
        skip_header: bool = false,
        /// Leave out columns that are empty.
        skip_empty_columns: bool = false,
        /// Give events whose text is empty the tag `_csvskippedemptyfield`, and not that of a failure.
        skip_empty_rows: bool = false,
        /// Columns, and the type they are to have.
        convert: Hash<Type> = {},
    }
    accepted {
        "ecs_compatibility" => "columns go where `target` says",
    }
    validate = check
}

words! {
    /// What a value is made.
    pub(crate) enum Type {
        /// A whole number; `0x1f` and `0b1` are numbers, too.
        Integer = "integer",
        /// A number.
        Float = "float",
        /// A moment: midnight of a day such as `2026-11-20` or `Fri, Nov 20, 2026`, on this machine's clocks.
        Date = "date",
        /// A moment such as `2026-11-20 10:00:00`, `2026-11-20T10:00:00+01:00` or `Fri Nov 20 10:00:00 2026`; UTC unless it
        /// says so.
        DateTime = "date_time",
        /// True or false.
        Boolean = "boolean",
    }
}

fn check(options: &CsvOptions, problems: &mut Problems) {
    if options.separator.is_empty() {
        problems
            .error(options.separator.span, "the separator is empty")
            .hint("write what separates the columns");
    }
    if quote(&options.quote_char).is_err() {
        problems
            .error(options.quote_char.span, "a quote is one character")
            .hint("write `\\x00` if nothing is quoted");
    }
}

/// The quote that an option names; `None` when nothing is quoted.
pub(crate) fn quote(written: &str) -> Result<Option<char>, ()> {
    let mut chars = written.chars();
    match (written, chars.next(), chars.next()) {
        ("\\x00" | "\0", ..) => Ok(None),
        (r#"\""#, ..) => Ok(Some('"')),
        (_, Some(quote), None) => Ok(Some(quote)),
        _ => Err(()),
    }
}

impl FilterOptions for CsvOptions {
    fn build(&self, on_success: &Arc<CommonFilter>) -> Result<Box<dyn Filter>, String> {
        self.build_shared(on_success, &mut Shared::default())
    }

    fn build_shared(
        &self,
        on_success: &Arc<CommonFilter>,
        shared: &mut Shared,
    ) -> Result<Box<dyn Filter>, String> {
        let quote = quote(&self.quote_char).map_err(|()| "a quote is one character".to_owned())?;
        let detected: Arc<OnceLock<Vec<String>>> = shared.take_or_make(OnceLock::new);
        Ok(Box::new(Csv {
            dialect: Dialect { separator: self.separator.value.clone(), quote },
            options: self.clone(),
            detected,
            on_success: OnSuccess::new(on_success),
        }))
    }
}

struct Csv {
    options: CsvOptions,
    dialect: Dialect,
    /// The names of the columns that the first line had.
    detected: Arc<OnceLock<Vec<String>>>,
    on_success: OnSuccess,
}

/// A value could not be put into the event, or not be made what it is to be.
struct Failed;

impl Filter for Csv {
    fn run(&mut self, batch: &mut Batch) {
        batch.each(|event| self.work(event));
    }
}

impl Csv {
    fn work(&self, event: &mut Event) -> Fate {
        let options = &self.options;
        let row = match event.get(&options.source) {
            None | Some(Value::Null | Value::Bool(false)) => return Fate::Keep,
            Some(Value::Str(text)) => self.dialect.row(text),
            Some(_) => {
                event.add_tag(FAILURE);
                return Fate::Keep;
            }
        };
        let Ok(row) = row else {
            event.add_tag(FAILURE);
            return Fate::Keep;
        };
        let mut names = options.columns.as_slice();
        if options.autodetect_column_names && names.is_empty() {
            let mut first = false;
            names = self.detected.get_or_init(|| {
                first = true;
                row.iter().flatten().map(|value| value.as_deref().unwrap_or_default().to_owned()).collect()
            });
            if first {
                return Fate::Drop;
            }
        }
        if options.skip_header && !names.is_empty() && row.as_deref().is_some_and(|row| is_header(names, row))
        {
            return Fate::Drop;
        }
        match row {
            None if options.skip_empty_rows => event.add_tag(EMPTY),
            None => event.add_tag(FAILURE),
            Some(values) => match self.put(event, names, values) {
                Ok(()) if self.on_success.try_apply(event) => {}
                _ => event.add_tag(FAILURE),
            },
        }
        Fate::Keep
    }

    fn put(&self, event: &mut Event, names: &[String], values: Vec<Option<Text>>) -> Result<(), Failed> {
        let options = &self.options;
        for (at, value) in values.into_iter().enumerate() {
            let empty = value.as_ref().is_none_or(|text| text.is_empty());
            let given = names.get(at);
            if (options.skip_empty_columns && empty)
                || (given.is_none() && !options.autogenerate_column_names)
            {
                continue;
            }
            let numbered;
            let name = match given {
                Some(name) => name.as_str(),
                None => {
                    numbered = format!("column{}", at + 1);
                    &numbered
                }
            };
            let convert = options.convert.0.iter().find(|(column, _)| column == name).map(|(_, to)| *to);
            let value = match (convert, value) {
                (Some(Type::Boolean), None) => return Err(Failed),
                (_, None) => Value::Null,
                (None, Some(text)) => Value::Str(text),
                (Some(to), Some(text)) => converted(to, text),
            };
            event.set(&self.field(name)?, value).map_err(|_| Failed)?;
        }
        Ok(())
    }

    /// The field of a column; a name in brackets is a path.
    fn field(&self, name: &str) -> Result<FieldRef, Failed> {
        let path = match name.starts_with('[') {
            true => FieldRef::parse(name).map_err(|_| Failed)?.names(),
            false => vec![name.to_owned()],
        };
        let above = self.options.target.as_ref().map(FieldRef::names).unwrap_or_default();
        Ok(FieldRef::from_names(&above.iter().chain(&path).map(String::as_str).collect::<Vec<_>>()))
    }
}

fn is_header(names: &[String], row: &[Option<Text>]) -> bool {
    names.len() == row.len()
        && names.iter().zip(row).all(|(name, value)| value.as_deref().is_some_and(|value| value == name))
}

/// The value as what it is to be; as it was when it cannot be that.
pub(crate) fn converted(to: Type, text: Text) -> Value {
    let converted = match to {
        Type::Integer => whole(text.trim()),
        Type::Float => {
            ruby::hexadecimal(text.trim()).unwrap_or_else(|| ruby::number_in(text.trim())).map(Value::Float)
        }
        Type::Boolean => match text.trim().to_lowercase() {
            text if text == "true" => Some(Value::Bool(true)),
            text if text == "false" => Some(Value::Bool(false)),
            text => Some(Value::from(text)),
        },
        Type::Date => dates::day(&text)
            .and_then(|day| day.to_zoned(TimeZone::system()).ok())
            .map(|at| Value::Time(at.timestamp())),
        Type::DateTime => dates::moment(&text).map(Value::Time),
    };
    converted.unwrap_or(Value::Str(text))
}

/// A whole number as Ruby's `Integer()` reads it.
fn whole(text: &str) -> Option<Value> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let lower = digits.to_ascii_lowercase();
    let (radix, digits) = match lower.as_bytes() {
        [b'0', b'x', ..] => (16, lower.get(2..)?),
        [b'0', b'b', ..] => (2, lower.get(2..)?),
        [b'0', b'o', ..] => (8, lower.get(2..)?),
        [b'0', _, ..] => (8, lower.get(1..)?),
        _ => (10, lower.as_str()),
    };
    if digits.starts_with(['+', '-', '_']) || digits.ends_with('_') || digits.contains("__") {
        return None;
    }
    let digits = digits.replace('_', "");
    match i64::from_str_radix(&digits, radix) {
        Ok(number) => Some(Value::Int(if negative { -number } else { number })),
        Err(_) if radix == 10 => {
            Decimal::whole(&format!("{}{digits}", if negative { "-" } else { "" })).map(Value::Number)
        }
        Err(_) => None,
    }
}
