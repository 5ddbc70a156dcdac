//! Reads sizes and time spans as people write them: "10mb", "5 MiB", "500ms", "2 minutes".
use std::time::Duration;

/// A number of bytes: `1024`, `"10mb"`, `"5 MiB"`. As in Logstash, `kb` is 1000 bytes and `kib` is 1024.
pub(crate) fn bytes(text: &str) -> Option<u64> {
    let (number, unit) = split(text)?;
    let factor: u64 = match unit.to_ascii_lowercase().as_str() {
        "" | "b" | "byte" | "bytes" => 1,
        "k" | "kb" => 1000,
        "m" | "mb" => 1_000_000,
        "g" | "gb" => 1_000_000_000,
        "t" | "tb" => 1_000_000_000_000,
        "ki" | "kib" => 1 << 10,
        "mi" | "mib" => 1 << 20,
        "gi" | "gib" => 1 << 30,
        "ti" | "tib" => 1 << 40,
        _ => return None,
    };
    if let Ok(whole) = number.parse::<u64>() {
        return whole.checked_mul(factor);
    }
    let bytes = number.parse::<f64>().ok()? * factor as f64;
    (bytes.is_finite() && bytes < 1e18).then_some(bytes as u64)
}

/// A time span: seconds as a number, or a number with a unit.
pub(crate) fn duration(text: &str) -> Option<Duration> {
    let (number, unit) = split(text)?;
    let factor = match unit {
        "" | "s" | "sec" | "secs" | "second" | "seconds" => 1.0,
        "ns" | "nsec" => 1e-9,
        "us" | "µs" | "usec" | "microsecond" | "microseconds" => 1e-6,
        "ms" | "msec" | "millisecond" | "milliseconds" => 1e-3,
        "m" | "min" | "mins" | "minute" | "minutes" => 60.0,
        "h" | "hour" | "hours" => 3600.0,
        "d" | "day" | "days" => 86_400.0,
        "w" | "week" | "weeks" => 604_800.0,
        _ => return None,
    };
    Duration::try_from_secs_f64(number.parse::<f64>().ok()? * factor).ok()
}

/// The digits at the front and the unit behind them.
fn split(text: &str) -> Option<(&str, &str)> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(end)?;
    (!number.is_empty()).then(|| (number, unit.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_with_their_units() {
        assert_eq!(bytes("1024"), Some(1024));
        assert_eq!(bytes("10mb"), Some(10_000_000));
        assert_eq!(bytes("5 MiB"), Some(5 << 20));
        assert_eq!(bytes("1.5 kib"), Some(1536));
        for wrong in ["", "mb", "-1", "10 parsecs", "99999999999999999999", "999999999tib", "1.2.3"] {
            assert_eq!(bytes(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn time_spans_are_read_with_their_units() {
        assert_eq!(duration("5"), Some(Duration::from_secs(5)));
        assert_eq!(duration("0.25"), Some(Duration::from_millis(250)));
        assert_eq!(duration("500ms"), Some(Duration::from_millis(500)));
        assert_eq!(duration("2 minutes"), Some(Duration::from_secs(120)));
        for wrong in ["", "-1", "soon", "5 parsecs", "1e3", "99999999999999999999999 weeks"] {
            assert_eq!(duration(wrong), None, "{wrong}");
        }
    }
}
