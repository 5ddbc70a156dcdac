//! Converts values to other types as Logstash does: leniently, as Ruby reads numbers.
use super::change::Failure;
use crate::ruby::{to_f, to_i};
use crate::spec::words;
use crate::value::Value;

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
            Self::Integer => integer(value, ',', '.')?,
            Self::IntegerEu => integer(value, '.', ',')?,
            Self::Float => float(value, ',', '.'),
            Self::FloatEu => float(value, '.', ','),
            Self::String => Value::Str(value.to_text()),
            Self::Boolean => boolean(value),
        })
    }
}

fn integer(value: &Value, grouping: char, decimal: char) -> Result<Value, Failure> {
    Ok(match value {
        Value::Bool(yes) => Value::Int(i64::from(*yes)),
        Value::Int(_) => value.clone(),
        Value::Float(number) if !number.is_finite() => return Err(Failure::NotFinite),
        // Beyond 64 bits the number stays as it is, less its fraction.
        Value::Float(number) if number.abs() >= 9.2e18 => Value::Float(number.trunc()),
        #[allow(clippy::cast_possible_truncation, reason = "the range was looked at in the line above")]
        Value::Float(number) => Value::Int(*number as i64),
        Value::Time(at) => Value::Int(at.as_second()),
        other => to_i(&plain(&other.to_text(), grouping, decimal)),
    })
}

fn float(value: &Value, grouping: char, decimal: char) -> Value {
    Value::Float(match value {
        Value::Bool(yes) => f64::from(u8::from(*yes)),
        #[allow(clippy::cast_precision_loss, reason = "a float is what was asked for")]
        Value::Int(number) => *number as f64,
        Value::Float(number) => *number,
        #[allow(clippy::cast_precision_loss, reason = "a float is what was asked for")]
        Value::Time(at) => at.as_millisecond() as f64 / 1000.0,
        other => to_f(&plain(&other.to_text(), grouping, decimal)),
    })
}

/// The number as programs write it: without signs between groups of digits, with a point before the fraction.
fn plain(text: &str, grouping: char, decimal: char) -> String {
    text.chars().filter(|c| *c != grouping).map(|c| if c == decimal { '.' } else { c }).collect()
}

/// True or false; what is neither stays as it is.
fn boolean(value: &Value) -> Value {
    let text = value.to_text().to_ascii_lowercase();
    match text.as_str() {
        "true" | "t" | "yes" | "y" | "1" | "1.0" => Value::Bool(true),
        "false" | "f" | "no" | "n" | "0" | "0.0" | "" => Value::Bool(false),
        _ => value.clone(),
    }
}
