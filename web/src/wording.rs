//! Words numbers, sizes and times for people, and shows what stands in backticks as code.
use askama::filters::HtmlSafe;
use std::fmt;

/// A number with its thousands apart: `1,234,567`.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A rate: `0`, `3.4`, `1,234`.
pub(crate) fn rate(per_second: f64) -> String {
    match per_second {
        r if !r.is_finite() || r < 0.05 => "0".into(),
        r if r < 10.0 => format!("{r:.1}"),
        // A float becomes an integer by saturation.
        r => count(r.round() as u64),
    }
}

/// A size: `0 B`, `512 B`, `4.9 MB`.
pub(crate) fn bytes(number: u64) -> String {
    let (mut size, mut unit) = (number as f64, "B");
    for next in ["kB", "MB", "GB", "TB", "PB"] {
        if size < 999.5 {
            break;
        }
        (size, unit) = (size / 1000.0, next);
    }
    if unit == "B" || size >= 99.5 { format!("{size:.0} {unit}") } else { format!("{size:.1} {unit}") }
}

/// How long before `now_ms` something was: `just now`, `12 s ago`, `3 min ago`, `5 h ago`, `2 days ago`.
pub(crate) fn ago(now_ms: u64, at_ms: u64) -> String {
    let seconds = now_ms.saturating_sub(at_ms) / 1000;
    match seconds {
        _ if at_ms == 0 => String::new(),
        0..=2 => "just now".into(),
        3..=99 => format!("{seconds} s ago"),
        100..=5999 => format!("{} min ago", seconds / 60),
        6000..=172_799 => format!("{} h ago", seconds / 3600),
        _ => format!("{} days ago", seconds / 86_400),
    }
}

/// `1 node`, `2 nodes`.
pub(crate) fn plural(number: usize, word: &str) -> String {
    let s = if number == 1 { "" } else { "s" };
    format!("{} {word}{s}", count(number as u64))
}

/// Shows a text of ours, which may hold texts of others, with what stands in backticks as code.
pub(crate) fn rich(text: &str) -> Rich<'_> {
    Rich(text)
}

/// A text that is escaped for HTML when it is shown.
pub(crate) struct Rich<'a>(&'a str);

impl HtmlSafe for Rich<'_> {}

impl fmt::Display for Rich<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = self.0.split('`').peekable();
        let mut code = false;
        while let Some(part) = parts.next() {
            // The last backtick of an odd number of them is an ordinary character.
            let lone = code && parts.peek().is_none();
            match (code, lone) {
                (_, true) => write!(f, "`{}", Escaped(part))?,
                (true, false) => write!(f, "<code>{}</code>", Escaped(part))?,
                (false, false) => write!(f, "{}", Escaped(part))?,
            }
            code = !code;
        }
        Ok(())
    }
}

struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            match character {
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '&' => f.write_str("&amp;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                other => write!(f, "{other}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!([count(0), count(999), count(1000), count(1_234_567)], ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([rate(0.0), rate(f64::NAN), rate(3.44), rate(12_345.6)], ["0", "0", "3.4", "12,346"]);
        assert_eq!(
            [bytes(0), bytes(999), bytes(1000), bytes(4_900_000), bytes(u64::MAX)],
            ["0 B", "999 B", "1.0 kB", "4.9 MB", "18447 PB"]
        );
        assert_eq!([plural(1, "node"), plural(0, "node")], ["1 node", "0 nodes"]);
    }

    #[test]
    fn what_stands_in_backticks_is_code_and_nothing_is_markup() {
        for (text, html) in [
            ("there is no `grokk`", "there is no <code>grokk</code>"),
            ("`a` and `<b>`", "<code>a</code> and <code>&lt;b&gt;</code>"),
            ("a ` b", "a ` b"),
            ("`a` ` \"'&", "<code>a</code> ` &quot;&#39;&amp;"),
            ("", ""),
        ] {
            assert_eq!(rich(text).to_string(), html);
        }
    }

    #[test]
    fn times_read_well_and_never_lie_in_the_future() {
        let now = 1_000_000_000;
        assert_eq!(ago(now, 0), "");
        assert_eq!(ago(now, now + 5000), "just now");
        assert_eq!(ago(now, now - 12_000), "12 s ago");
        assert_eq!(ago(now, now - 180_000), "3 min ago");
        assert_eq!(ago(now, now - 7_200_000), "2 h ago");
        assert_eq!(ago(now, now - 259_200_000), "3 days ago");
    }
}
