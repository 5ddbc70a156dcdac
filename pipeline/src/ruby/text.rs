//! Writes values as texts as Ruby's `to_s` does.
use std::fmt::Write;

use crate::value::{Text, Value};

/// The value as a text; free for a text.
pub(crate) fn to_s(value: &Value) -> Text {
    match value {
        Value::Str(text) => text.clone(),
        Value::Null => Text::default(),
        Value::Float(number) => float(*number).into(),
        Value::Bool(_) | Value::Int(_) | Value::Time(_) => value.to_text(),
        Value::List(_) | Value::Map(_) => {
            let mut out = String::new();
            inspect(value, &mut out);
            out.into()
        }
    }
}

/// Adds the value as `inspect` shows it, which is how lists and maps show what is in them.
fn inspect(value: &Value, out: &mut String) {
    // Writing into a string cannot fail.
    let _ok = match value {
        Value::Null => out.write_str("nil"),
        Value::Str(text) => write!(out, "{:?}", text.as_str()),
        Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Time(_) => out.write_str(&to_s(value)),
        Value::List(items) => {
            out.push('[');
            for (number, item) in items.iter().enumerate() {
                out.push_str(if number > 0 { ", " } else { "" });
                inspect(item, out);
            }
            out.write_str("]")
        }
        Value::Map(map) => {
            out.push('{');
            for (number, (name, item)) in map.iter().enumerate() {
                out.push_str(if number > 0 { ", " } else { "" });
                let _ok = write!(out, "{:?}=>", name.as_str());
                inspect(item, out);
            }
            out.write_str("}")
        }
    };
}

/// A number as Ruby writes it: with an exponent below 0.0001 and from 1e16 on.
fn float(number: f64) -> String {
    let plain = format!("{number:?}");
    let size = number.abs();
    if !number.is_finite() {
        return if number.is_nan() {
            "NaN".into()
        } else if number > 0.0 {
            "Infinity".into()
        } else {
            "-Infinity".into()
        };
    }
    if number == 0.0 || (1e-4..1e16).contains(&size) {
        return if plain.contains('e') { format!("{number}.0") } else { plain };
    }
    let scientific = format!("{number:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let digits = if digits.contains('.') { digits.to_owned() } else { format!("{digits}.0") };
    let (sign, exponent) = exponent.strip_prefix('-').map_or(('+', exponent), |exponent| ('-', exponent));
    format!("{digits}e{sign}{exponent:0>2}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_ruby_writes_them() {
        for (number, text) in [
            (1.0, "1.0"),
            (-0.0, "-0.0"),
            (0.0001, "0.0001"),
            (0.00001, "1.0e-05"),
            (12_345_678.9, "12345678.9"),
            (1e15, "1000000000000000.0"),
            (1e16, "1.0e+16"),
            (1.5e300, "1.5e+300"),
            (f64::NEG_INFINITY, "-Infinity"),
        ] {
            assert_eq!(to_s(&Value::Float(number)), text);
        }
        let list = Value::List(vec![Value::from("a"), Value::Null, Value::Int(1)]);
        let map = Value::Map([("k", list)].into_iter().collect());
        assert_eq!(to_s(&map), "{\"k\"=>[\"a\", nil, 1]}");
    }
}
