//! Reads numbers as Ruby does: at the start of texts as `to_i` and `to_f`, where what follows is ignored and no number is
//! zero, and in whole texts as `Integer()`, `Float()` and `BigDecimal()`.
use crate::value::{Decimal, Value};

/// The whole number that `text` starts with, however large.
pub(crate) fn to_i(text: &str) -> Value {
    let text = text.trim_start();
    let sign = usize::from(text.starts_with(['+', '-']));
    let end = sign + digits(text.get(sign..).unwrap_or_default());
    let number = clean(text.get(..end).unwrap_or_default());
    match number.parse::<i64>() {
        Ok(value) => Value::Int(value),
        Err(_) => Decimal::whole(&number).map_or(Value::Int(0), Value::Number),
    }
}

/// The number that `text` starts with.
pub(crate) fn to_f(text: &str) -> f64 {
    let text = text.trim_start();
    let mut end = usize::from(text.starts_with(['+', '-']));
    let after = |end: usize| text.get(end..).unwrap_or_default();
    let whole = digits(after(end));
    end += whole;
    if after(end).starts_with('.') {
        let fraction = digits(after(end + 1));
        if fraction > 0 {
            end += 1 + fraction;
        }
    }
    if after(end).starts_with(['e', 'E']) {
        let sign = usize::from(after(end + 1).starts_with(['+', '-']));
        let exponent = digits(after(end + 1 + sign));
        if exponent > 0 {
            end += 1 + sign + exponent;
        }
    }
    clean(text.get(..end).unwrap_or_default()).parse().unwrap_or(0.0)
}

/// The number that is the whole of `text`, as `Float()` reads it.
pub(crate) fn number_in(text: &str) -> Option<f64> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (number, exponent) = unsigned.split_once(['e', 'E']).map_or((unsigned, None), |(n, e)| (n, Some(e)));
    let (whole, fraction) = number.split_once('.').map_or((number, None), |(w, f)| (w, Some(f)));
    let all_digits = |text: &str| !text.is_empty() && digits(text) == text.len();
    let exponent_fits = exponent.is_none_or(|e| all_digits(e.strip_prefix(['+', '-']).unwrap_or(e)));
    let whole_fits = all_digits(whole) || (whole.is_empty() && fraction.is_some());
    (whole_fits && fraction.is_none_or(all_digits) && exponent_fits).then(|| clean(text).parse().ok())?
}

/// The number that is the whole of `text` as `BigDecimal()` reads it, without its fraction, however large.
pub(crate) fn decimal(text: &str) -> Option<Value> {
    let text = if number_in(text).is_none() { text.strip_suffix('.')? } else { text };
    let number = number_in(text)?;
    let text = clean(text);
    Some(match exact(&text) {
        Some(exact) => Value::Int(exact),
        None => match Decimal::fraction(&text).and_then(|number| number.truncated()) {
            Some(large) => Value::from(large),
            None => Value::Float(number.trunc()),
        },
    })
}

/// The whole part of a number with a power of ten, digit by digit; `None` when it has more than 64 bits.
fn exact(text: &str) -> Option<i64> {
    let (number, power) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let power: i32 = power.parse().ok()?;
    let digits = whole.trim_start_matches(['+', '-']).to_owned() + fraction;
    let digits = digits.trim_start_matches('0');
    let shift = power - i32::try_from(fraction.len()).ok()?;
    let left = i32::try_from(digits.len()).ok()? + shift.min(0);
    if digits.is_empty() || left <= 0 {
        return Some(0);
    }
    let kept = digits.get(..usize::try_from(left).ok()?)?;
    let zeros = "0".repeat(usize::try_from(shift.clamp(0, 20)).ok()?);
    format!("{}{kept}{zeros}", if whole.starts_with('-') { "-" } else { "" }).parse().ok()
}

/// The number in a text that starts with `0x` behind a sign, whole or with a fraction and a power of two; `Some(None)`: it
/// starts so, and is no number. `None`: it does not start so.
pub(crate) fn hexadecimal(text: &str) -> Option<Option<f64>> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let digits = unsigned.strip_prefix("0x").or_else(|| unsigned.strip_prefix("0X"))?;
    let sign = if text.starts_with('-') { -1.0 } else { 1.0 };
    Some(hexadecimal_digits(digits).map(|number| sign * number))
}

fn hexadecimal_digits(text: &str) -> Option<f64> {
    let (number, power) = text.split_once(['p', 'P']).map_or((text, None), |(n, p)| (n, Some(p)));
    let power: i32 = power.map_or(Some(0), |power| power.parse().ok())?;
    let (whole, fraction) = number.split_once('.').map_or((number, None), |(w, f)| (w, Some(f)));
    if whole.is_empty() || fraction.is_some_and(str::is_empty) {
        return None;
    }
    let mut value = 0.0_f64;
    for digit in whole.chars() {
        value = value * 16.0 + f64::from(digit.to_digit(16)?);
    }
    let mut place = 1.0 / 16.0;
    for digit in fraction.unwrap_or_default().chars() {
        value += f64::from(digit.to_digit(16)?) * place;
        place /= 16.0;
    }
    Some(value * 2.0_f64.powi(power))
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn whole_parts_are_exact_as_long_as_they_fit() {
        for (text, wanted) in [
            ("9.007199254740993e+15", Some(Value::Int(9_007_199_254_740_993))),
            ("9223372036854775807.9", Some(Value::Int(i64::MAX))),
            ("-9223372036854775808", Some(Value::Int(i64::MIN))),
            ("9223372036854775808", Decimal::whole("9223372036854775808").map(Value::Number)),
            ("-1.23e20", Decimal::whole("-123000000000000000000").map(Value::Number)),
            ("-12.9", Some(Value::Int(-12))),
            ("1.5e-9", Some(Value::Int(0))),
            ("-1e0", Some(Value::Int(-1))),
            ("0.0e5", Some(Value::Int(0))),
            ("1_000.", Some(Value::Int(1000))),
            (".5", Some(Value::Int(0))),
            ("", None),
            (".", None),
            ("1e", None),
            ("12 items", None),
            ("_1", None),
        ] {
            assert_eq!(decimal(text), wanted, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_number_or_not(text in "\\PC{0,12}|[0-9a-fxpe.+_-]{0,14}") {
            let _any = (decimal(&text), number_in(&text), hexadecimal(&text), to_i(&text), to_f(&text));
        }

        #[test]
        fn whole_numbers_with_a_power_of_ten_are_what_they_are(number in -1_000_000_i64..1_000_000, power in 0_u32..9) {
            prop_assert_eq!(decimal(&format!("{number}e{power}")), Some(Value::Int(number * 10_i64.pow(power))));
        }
    }
}
