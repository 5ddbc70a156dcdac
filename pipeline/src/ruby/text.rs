//! Writes values as texts as Ruby's `to_s` does.
use std::fmt::Write;

use crate::value::{Text, Value};

/// The value as a text; free for a text.
pub(crate) fn to_s(value: &Value) -> Text {
    match value {
        Value::Str(text) => text.clone(),
        Value::Null => Text::default(),
        Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Number(_) | Value::Time(_) => {
            value.to_text()
        }
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
        Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Number(_) | Value::Time(_) => {
            out.write_str(&to_s(value))
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_and_maps_show_what_is_in_them() {
        let list = Value::List(vec![Value::from("a"), Value::Null, Value::Float(1e16)]);
        let map = Value::Map([("k", list)].into_iter().collect());
        assert_eq!(to_s(&map), "{\"k\"=>[\"a\", nil, 1.0e+16]}");
    }
}
