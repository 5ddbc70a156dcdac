//! Holds numbers that a machine's do not hold exactly: whole ones beyond 64 bits, and fractions with all their digits.
//!
//! What the `json` and `dissect` filters read are such fractions in Logstash, too, and they differ from others: `[size] == 1.5`
//! does not hold for them, and converted to a text they are `0.15e1`.
use compact_str::CompactString;
use std::fmt::Write;

/// The largest power of ten that a fraction may have to be written out as a whole number.
const WHOLE_DIGITS_MAX: i64 = 10_000;

/// A number with all its digits, as Java's `BigInteger` and `BigDecimal` have them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decimal(Box<Written>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Written {
    /// As Java's `toString` writes it.
    text: CompactString,
    /// Whether it was made as a whole number.
    whole: bool,
}

/// The parts of a number: digits, of which so many stand behind the point.
struct Parts {
    negative: bool,
    /// Without zeros at the start; zero is one `0`.
    digits: String,
    scale: i64,
}

impl Decimal {
    /// The whole number that these digits behind a sign are; `None` if they are none.
    pub(crate) fn whole(text: &str) -> Option<Self> {
        let parts = Parts::read(text).filter(|_| !text.contains(['.', 'e', 'E']))?;
        Some(Self(Box::new(Written { text: parts.plain().into(), whole: true })))
    }

    /// The number that is the whole of `text`, as JSON writes numbers; `None` if it is none.
    pub(crate) fn fraction(text: &str) -> Option<Self> {
        Some(Self(Box::new(Written { text: Parts::read(text)?.java().into(), whole: false })))
    }

    /// A float without its fraction; `None` if it is not finite.
    pub(crate) fn trunc(x: f64) -> Option<Self> {
        x.is_finite().then(|| Self::whole(&format!("{:.0}", x.trunc())))?
    }

    /// As Java writes it, which is how it stands in filled-in texts and in JSON: `1.50`, `1E+3`.
    pub fn as_str(&self) -> &str {
        &self.0.text
    }

    /// Whether it was made as a whole number.
    pub(crate) fn is_whole(&self) -> bool {
        self.0.whole
    }

    /// The nearest number of 64 bits.
    pub(crate) fn to_f64(&self) -> f64 {
        self.0.text.parse().unwrap_or(0.0)
    }

    /// Without its fraction; `None` if it has more digits than anything should.
    pub(crate) fn truncated(&self) -> Option<Self> {
        let mut parts = Parts::read(&self.0.text)?;
        if parts.scale < -WHOLE_DIGITS_MAX {
            return None;
        }
        match usize::try_from(parts.scale) {
            Ok(behind) => {
                let kept = parts.digits.len().saturating_sub(behind);
                parts.digits.truncate(kept);
            }
            Err(_) => (parts.scale..0).for_each(|_| parts.digits.push('0')),
        }
        let sign = if parts.negative { "-" } else { "" };
        let digits = if parts.digits.is_empty() { "0" } else { &parts.digits };
        Self::whole(&format!("{sign}{digits}"))
    }

    /// Adds it as Ruby's `to_s` writes it: a fraction is `0.15e1`.
    pub(crate) fn push_ruby(&self, out: &mut String) {
        match Parts::read(&self.0.text) {
            Some(parts) if !self.0.whole => parts.ruby(out),
            _ => out.push_str(&self.0.text),
        }
    }
}

impl Parts {
    fn read(text: &str) -> Option<Self> {
        let (negative, unsigned) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        let (number, power) = unsigned.split_once(['e', 'E']).unwrap_or((unsigned, "0"));
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        let power: i64 = power.parse::<i32>().ok()?.into();
        let all = format!("{whole}{fraction}");
        if all.is_empty() || !all.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let digits = match all.trim_start_matches('0') {
            "" => "0",
            digits => digits,
        };
        // There is one zero only, and it has no sign.
        let negative = negative && digits != "0";
        Some(Self { negative, digits: digits.to_owned(), scale: i64::try_from(fraction.len()).ok()? - power })
    }

    /// The power of ten of the first digit.
    fn exponent(&self) -> i64 {
        i64::try_from(self.digits.len()).unwrap_or(i64::MAX) - 1 - self.scale
    }

    /// All digits, as if there were no point.
    fn plain(&self) -> String {
        format!("{}{}", if self.negative { "-" } else { "" }, self.digits)
    }

    fn java(&self) -> String {
        if self.scale == 0 {
            return self.plain();
        }
        let sign = if self.negative { "-" } else { "" };
        if self.scale > 0 && self.exponent() >= -6 {
            let behind = usize::try_from(self.scale).unwrap_or(0);
            let digits = format!("{:0>1$}", self.digits, behind + 1);
            let (whole, fraction) = digits.split_at_checked(digits.len() - behind).unwrap_or((&digits, ""));
            return format!("{sign}{whole}.{fraction}");
        }
        let (first, rest) = self.digits.split_at_checked(1).unwrap_or((&self.digits, ""));
        let point = if rest.is_empty() { "" } else { "." };
        format!("{sign}{first}{point}{rest}E{:+}", self.exponent())
    }

    fn ruby(&self, out: &mut String) {
        let digits = self.digits.trim_end_matches('0');
        if digits.is_empty() {
            return out.push_str("0.0");
        }
        let sign = if self.negative { "-" } else { "" };
        // Writing into a string cannot fail.
        let _ok = write!(out, "{sign}0.{digits}e{}", self.exponent() + 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn fractions_keep_their_digits_and_are_written_as_java_and_ruby_write_them() {
        for (text, java, ruby, whole) in [
            ("1.5", "1.5", "0.15e1", "1"),
            ("1.50", "1.50", "0.15e1", "1"),
            ("-12.0", "-12.0", "-0.12e2", "-12"),
            ("1e5", "1E+5", "0.1e6", "100000"),
            ("100e2", "1.00E+4", "0.1e5", "10000"),
            ("0.00001", "0.00001", "0.1e-4", "0"),
            ("0.00000012", "1.2E-7", "0.12e-6", "0"),
            ("-0.0", "0.0", "0.0", "0"),
            ("12345678.9", "12345678.9", "0.123456789e8", "12345678"),
            ("1E-400", "1E-400", "0.1e-399", "0"),
            ("7", "7", "0.7e1", "7"),
        ] {
            let number = Decimal::fraction(text).unwrap();
            let mut out = String::new();
            number.push_ruby(&mut out);
            assert_eq!((number.as_str(), out.as_str()), (java, ruby), "{text}");
            assert_eq!(number.truncated().unwrap().as_str(), whole, "{text}");
        }
    }

    #[test]
    fn whole_numbers_are_their_digits() {
        let number = Decimal::whole("-00123456789012345678901").unwrap();
        let mut out = String::new();
        number.push_ruby(&mut out);
        assert_eq!((number.as_str(), out.as_str()), ("-123456789012345678901", "-123456789012345678901"));
        assert_eq!(Decimal::trunc(1e20).unwrap().as_str(), "100000000000000000000");
        for none in ["", "-", "1.5", "1.", "1e0", "x", "1_0"] {
            assert_eq!(Decimal::whole(none), None, "{none}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_number_or_not(text in "\\PC{0,12}|[0-9e.+-]{0,14}") {
            for number in [Decimal::whole(&text), Decimal::fraction(&text)].into_iter().flatten() {
                let mut out = String::new();
                number.push_ruby(&mut out);
                prop_assert_eq!(out.parse::<f64>().unwrap(), number.to_f64());
                let _whole = number.truncated();
            }
        }

        #[test]
        fn fractions_are_the_numbers_that_they_were_read_from(x in any::<f64>()) {
            prop_assume!(x.is_finite());
            prop_assert_eq!(Decimal::fraction(&format!("{x:e}")).unwrap().to_f64(), x);
        }
    }
}
