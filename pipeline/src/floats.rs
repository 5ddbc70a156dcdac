//! Writes floating-point numbers as Ruby and as Java do: both with the fewest digits that name the number.
use std::fmt::Write;

/// Adds `x` to `out` as Ruby's `to_s` writes it: `1.5`, `1.0e+16`, `1.0e-05`.
pub(crate) fn push_ruby(x: f64, out: &mut String) {
    let Some(digits) = Digits::of(x, out) else { return };
    if (-4..16).contains(&digits.exponent) {
        return digits.plain(out);
    }
    let sign = if digits.exponent < 0 { '-' } else { '+' };
    digits.mantissa(out);
    // Writing into a string cannot fail.
    let _ok = write!(out, "e{sign}{:02}", digits.exponent.unsigned_abs());
}

/// Adds `x` to `out` as Java's `Double.toString` writes it: `1.5`, `1.0E7`, `1.0E-4`.
pub(crate) fn push_java(x: f64, out: &mut String) {
    let Some(digits) = Digits::of(x, out) else { return };
    if (-3..7).contains(&digits.exponent) {
        return digits.plain(out);
    }
    digits.mantissa(out);
    // Writing into a string cannot fail.
    let _ok = write!(out, "E{}", digits.exponent);
}

/// The digits of a number, of which the first stands before the point, and the power of ten it is to be multiplied by.
struct Digits {
    digits: String,
    exponent: i32,
}

impl Digits {
    /// Takes a number apart; its sign, or the whole of what is no number, is added to `out`.
    fn of(x: f64, out: &mut String) -> Option<Self> {
        if !x.is_finite() {
            out.push_str(if x.is_nan() {
                "NaN"
            } else if x > 0.0 {
                "Infinity"
            } else {
                "-Infinity"
            });
            return None;
        }
        if x.is_sign_negative() {
            out.push('-');
        }
        let written = format!("{:e}", x.abs());
        let (mantissa, exponent) = written.split_once('e').unwrap_or((&written, "0"));
        Some(Self { digits: mantissa.replace('.', ""), exponent: exponent.parse().unwrap_or(0) })
    }

    /// Without an exponent, with at least one digit before and after the point.
    fn plain(&self, out: &mut String) {
        let zeros = |out: &mut String, count: i32| out.extend((0..count).map(|_| '0'));
        let Ok(before) = usize::try_from(self.exponent + 1) else {
            out.push_str("0.");
            zeros(out, -self.exponent - 1);
            out.push_str(&self.digits);
            return;
        };
        match self.digits.split_at_checked(before) {
            Some((whole, fraction)) => {
                out.push_str(if whole.is_empty() { "0" } else { whole });
                out.push('.');
                out.push_str(if fraction.is_empty() { "0" } else { fraction });
            }
            None => {
                out.push_str(&self.digits);
                zeros(out, self.exponent + 1 - i32::try_from(self.digits.len()).unwrap_or(0));
                out.push_str(".0");
            }
        }
    }

    /// One digit, a point, the others.
    fn mantissa(&self, out: &mut String) {
        let (first, rest) = self.digits.split_at_checked(1).unwrap_or((&self.digits, ""));
        out.push_str(first);
        out.push('.');
        out.push_str(if rest.is_empty() { "0" } else { rest });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers_are_written_as_ruby_and_java_write_them() {
        for (x, ruby, java) in [
            (0.0, "0.0", "0.0"),
            (-0.0, "-0.0", "-0.0"),
            (1.0, "1.0", "1.0"),
            (-1.5, "-1.5", "-1.5"),
            (100.0, "100.0", "100.0"),
            (0.001, "0.001", "0.001"),
            (0.0001, "0.0001", "1.0E-4"),
            (0.00001, "1.0e-05", "1.0E-5"),
            (9_999_999.0, "9999999.0", "9999999.0"),
            (12_345_678.9, "12345678.9", "1.23456789E7"),
            (1e15, "1000000000000000.0", "1.0E15"),
            (1e16, "1.0e+16", "1.0E16"),
            (1.5e100, "1.5e+100", "1.5E100"),
            (f64::NAN, "NaN", "NaN"),
            (f64::NEG_INFINITY, "-Infinity", "-Infinity"),
        ] {
            let (mut got_ruby, mut got_java) = (String::new(), String::new());
            push_ruby(x, &mut got_ruby);
            push_java(x, &mut got_java);
            assert_eq!((got_ruby.as_str(), got_java.as_str()), (ruby, java), "{x}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_the_number(x in any::<f64>()) {
            prop_assume!(x.is_finite());
            for push in [push_ruby, push_java] {
                let mut out = String::new();
                push(x, &mut out);
                prop_assert_eq!(out.parse::<f64>().map(f64::to_bits), Ok(x.to_bits()), "{}", out);
            }
        }
    }
}
