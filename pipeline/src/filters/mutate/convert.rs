//! Converts values to other types as Logstash does since 8.14: a text that is no number is not converted.
use super::change::Failure;
use crate::ruby::{self, number_in};
use crate::spec::words;
use crate::value::{Decimal, Value};

words! {
    /// What a value is converted to.
    pub(crate) enum Conversion {
        /// A whole number; `1,000` is one thousand.
        Integer = "integer",
        /// A whole number; `1.000` is one thousand.
        IntegerEu = "integer_eu",
        /// A number; `1,000.5` is one thousand and a half.
        Float = "float",
        /// A number; `1.000,5` is one thousand and a half.
        FloatEu = "float_eu",
        /// A text.
        String = "string",
        /// True for `true`, `t`, `yes`, `y` and 1; false for `false`, `f`, `no`, `n`, 0 and the empty text.
        Boolean = "boolean",
    }
}

impl Conversion {
    /// The converted value; in a list, each. `None` when there is nothing to convert.
    pub(super) fn apply(self, value: &Value) -> Result<Option<Value>, Failure> {
        match value {
            Value::Null | Value::Map(_) => Ok(None),
            Value::List(items) => {
                let items: Result<_, Failure> = items
                    .iter()
                    .map(|item| match item {
                        Value::Null => Ok(Value::Null),
                        item => self.convert(item),
                    })
                    .collect();
                Ok(Some(Value::List(items?)))
            }
            value => self.convert(value).map(Some),
        }
    }

    fn convert(self, value: &Value) -> Result<Value, Failure> {
        Ok(match self {
            Self::Integer | Self::IntegerEu => integer(value, self == Self::IntegerEu)?,
            Self::Float | Self::FloatEu => Value::Float(float(value, self == Self::FloatEu)?),
            Self::String => Value::Str(ruby::to_s(value)),
            Self::Boolean => boolean(value),
        })
    }
}

fn integer(value: &Value, european: bool) -> Result<Value, Failure> {
    Ok(match value {
        Value::Bool(yes) => Value::Int(i64::from(*yes)),
        Value::Int(_) => value.clone(),
        Value::Float(number) => truncated(*number)?,
        Value::Number(number) => whole(number),
        Value::Time(at) => Value::Int(at.as_second()),
        Value::Str(text) => {
            let text = plain(text, european);
            match ruby::hexadecimal(&text) {
                Some(number) => truncated(number.ok_or(Failure::NotANumber)?)?,
                None => ruby::decimal(&text).ok_or(Failure::NotANumber)?,
            }
        }
        Value::Null | Value::List(_) | Value::Map(_) => return Err(Failure::NotANumber),
    })
}

/// The number without its fraction.
fn whole(number: &Decimal) -> Value {
    number.truncated().map_or_else(|| Value::Number(number.clone()), Value::from)
}

/// The number without its fraction.
fn truncated(number: f64) -> Result<Value, Failure> {
    match number.trunc() {
        whole if !whole.is_finite() => Err(Failure::NotFinite),
        whole if whole.abs() >= 9.2e18 => {
            Ok(Decimal::trunc(whole).map_or(Value::Float(whole), Value::Number))
        }
        #[allow(clippy::cast_possible_truncation, reason = "the range was looked at in the line above")]
        whole => Ok(Value::Int(whole as i64)),
    }
}

fn float(value: &Value, european: bool) -> Result<f64, Failure> {
    Ok(match value {
        Value::Bool(yes) => f64::from(u8::from(*yes)),
        #[allow(clippy::cast_precision_loss, reason = "a float is what was asked for")]
        Value::Int(number) => *number as f64,
        Value::Float(number) => *number,
        Value::Number(number) => number.to_f64(),
        #[allow(clippy::cast_precision_loss, reason = "a float is what was asked for")]
        Value::Time(at) => at.as_millisecond() as f64 / 1000.0,
        Value::Str(text) => {
            let text = plain(text, european);
            match ruby::hexadecimal(&text) {
                Some(number) => number.ok_or(Failure::NotANumber)?,
                None => number_in(&text).ok_or(Failure::NotANumber)?,
            }
        }
        Value::Null | Value::List(_) | Value::Map(_) => return Err(Failure::NotANumber),
    })
}

/// The number as programs write it: without signs between groups of digits, with a point before the fraction.
fn plain(text: &str, european: bool) -> String {
    let (grouping, point) = if european { ('.', ',') } else { (',', '.') };
    let kept = text.trim().chars().filter(|c| *c != grouping);
    kept.map(|c| if c == point { '.' } else { c.to_ascii_lowercase() }).collect()
}

/// True or false; what is neither stays as it is. Of several lines each is looked at, and a true one decides.
fn boolean(value: &Value) -> Value {
    let text = ruby::to_s(value).to_ascii_lowercase();
    let one_of = |words: &[&str], last: [u8; 2]| {
        text.split('\n')
            .any(|line| words.contains(&line) || matches!(line.as_bytes(), [a, _, b] if [*a, *b] == last))
    };
    if one_of(&["true", "t", "yes", "y", "1"], *b"10") {
        Value::Bool(true)
    } else if text.is_empty() || one_of(&["false", "f", "no", "n", "0"], *b"00") {
        Value::Bool(false)
    } else {
        value.clone()
    }
}
