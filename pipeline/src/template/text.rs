//! Writes the value of a field as it stands in a filled-in text: the way Logstash's virtual machine prints it.
use crate::floats::push_java;
use crate::hash_order;
use crate::json;
use crate::value::{Map, Name, Value};

/// Adds a value to `out`: a list joined by commas, a map as JSON. Null adds nothing and says so by `false`.
pub(super) fn push(value: &Value, out: &mut String) -> bool {
    match value {
        Value::Null => return false,
        Value::List(items) => join(items, out),
        Value::Map(_) => push_json(value, out),
        scalar => push_scalar(scalar, out),
    }
    true
}

fn push_scalar(value: &Value, out: &mut String) {
    match value {
        Value::Float(x) => push_java(*x, out),
        Value::Number(number) => out.push_str(number.as_str()),
        other => other.write_text(out),
    }
}

/// Lists in the list are joined like the list itself; maps in it are shown as Java shows a map.
fn join(items: &[Value], out: &mut String) {
    for (nth, item) in items.iter().enumerate() {
        if nth > 0 {
            out.push(',');
        }
        match item {
            Value::List(items) => join(items, out),
            Value::Map(map) => push_shown_map(map, out),
            scalar => push_scalar(scalar, out),
        }
    }
}

/// `{name=value, name=value}`.
fn push_shown_map(map: &Map, out: &mut String) {
    out.push('{');
    for (nth, (name, value)) in in_hash_order(map).into_iter().enumerate() {
        if nth > 0 {
            out.push_str(", ");
        }
        out.push_str(name);
        out.push('=');
        push_shown(value, out);
    }
    out.push('}');
}

/// Adds a value as the virtual machine shows any object: a list is `[a, b]`, a map `{name=value}`.
pub(crate) fn push_shown(value: &Value, out: &mut String) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Map(map) => push_shown_map(map, out),
        Value::List(items) => {
            out.push('[');
            for (nth, item) in items.iter().enumerate() {
                if nth > 0 {
                    out.push_str(", ");
                }
                push_shown(item, out);
            }
            out.push(']');
        }
        scalar => push_scalar(scalar, out),
    }
}

fn push_json(value: &Value, out: &mut String) {
    match value {
        Value::Map(map) => {
            out.push('{');
            for (nth, (name, value)) in in_hash_order(map).into_iter().enumerate() {
                if nth > 0 {
                    out.push(',');
                }
                push_quoted(name, out);
                out.push(':');
                push_json(value, out);
            }
            out.push('}');
        }
        Value::List(items) => {
            out.push('[');
            for (nth, item) in items.iter().enumerate() {
                if nth > 0 {
                    out.push(',');
                }
                push_json(item, out);
            }
            out.push(']');
        }
        Value::Str(text) => push_quoted(text, out),
        Value::Time(at) => {
            out.push('"');
            json::push_time(out, *at);
            out.push('"');
        }
        Value::Null => out.push_str("null"),
        scalar => push_scalar(scalar, out),
    }
}

fn push_quoted(text: &str, out: &mut String) {
    let mut quoted = Vec::with_capacity(text.len() + 2);
    json::write_str(text, &mut quoted);
    out.push_str(&String::from_utf8_lossy(&quoted));
}

/// The entries in the order of Logstash's texts.
fn in_hash_order(map: &Map) -> Vec<(&Name, &Value)> {
    let mut entries: Vec<_> = map.iter().collect();
    hash_order::sort_in(1, &mut entries, |(name, _)| name);
    entries
}
