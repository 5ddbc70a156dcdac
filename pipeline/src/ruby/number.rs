//! Reads numbers at the start of texts as Ruby's `to_i` and `to_f` do: what follows is ignored, no number is zero.
use crate::value::Value;

/// The whole number that `text` starts with; one too large for 64 bits becomes a [`Value::Float`].
pub(crate) fn to_i(text: &str) -> Value {
    let text = text.trim_start();
    let sign = usize::from(text.starts_with(['+', '-']));
    let end = sign + digits(text.get(sign..).unwrap_or_default());
    let number = clean(text.get(..end).unwrap_or_default());
    match number.parse::<i64>() {
        Ok(value) => Value::Int(value),
        Err(_) => number.parse::<f64>().map_or(Value::Int(0), Value::Float),
    }
}

/// The number that `text` starts with.
pub(crate) fn to_f(text: &str) -> f64 {
    let text = text.trim_start();
    let mut end = usize::from(text.starts_with(['+', '-']));
    let after = |end: usize| text.get(end..).unwrap_or_default();
    let whole = digits(after(end));
    end += whole;
    if after(end).starts_with('.') && (whole > 0 || end == 0) {
        let fraction = digits(after(end + 1));
        if fraction > 0 {
            end += 1 + fraction;
        }
    }
    if end > 0 && after(end).starts_with(['e', 'E']) {
        let sign = usize::from(after(end + 1).starts_with(['+', '-']));
        let exponent = digits(after(end + 1 + sign));
        if exponent > 0 {
            end += 1 + sign + exponent;
        }
    }
    clean(text.get(..end).unwrap_or_default()).parse().unwrap_or(0.0)
}

/// How many bytes of digits `text` starts with; a single `_` may stand between two.
fn digits(text: &str) -> usize {
    let bytes = text.as_bytes();
    let mut end = 0;
    loop {
        match bytes.get(end) {
            Some(b) if b.is_ascii_digit() => end += 1,
            Some(b'_') if end > 0 && bytes.get(end + 1).is_some_and(u8::is_ascii_digit) => end += 1,
            _ => return end,
        }
    }
}

fn clean(number: &str) -> std::borrow::Cow<'_, str> {
    if number.contains('_') { number.replace('_', "").into() } else { number.into() }
}
