//! Reads lines of comma-separated values, as Ruby's CSV library does, whose rules Logstash has.
use crate::value::Text;

/// What separates and what quotes.
#[derive(Clone, Debug)]
pub(crate) struct Dialect {
    /// Never empty.
    pub(crate) separator: String,
    /// `None`: nothing is quoted.
    pub(crate) quote: Option<char>,
}

/// A line is not as it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Malformed {
    /// A quoted value has no end.
    #[error("a quoted value does not end")]
    Unclosed,
    /// A quoted value goes on after its end, or a quote stands in a value that is not quoted.
    #[error("a quote stands where none belongs")]
    StrayQuote,
}

impl Dialect {
    /// The values of the first row of `text`; an empty value is `None` unless it is quoted. `None`: there is no row.
    pub(crate) fn row(&self, text: &Text) -> Result<Option<Vec<Option<Text>>>, Malformed> {
        if text.is_empty() {
            return Ok(None);
        }
        if text.starts_with(['\n', '\r']) {
            return Ok(Some(Vec::new()));
        }
        let mut values = Vec::new();
        let mut rest: &str = text;
        loop {
            let (value, after) = match self.quote.filter(|quote| rest.starts_with(*quote)) {
                Some(quote) => quoted(text, rest, quote)?,
                None => self.bare(text, rest)?,
            };
            values.push(value);
            match after.strip_prefix(self.separator.as_str()) {
                Some(next) => rest = next,
                None if after.is_empty() || after.starts_with(['\n', '\r']) => return Ok(Some(values)),
                None => return Err(Malformed::StrayQuote),
            }
        }
    }

    fn bare<'a>(&self, text: &Text, rest: &'a str) -> Result<(Option<Text>, &'a str), Malformed> {
        let separator = rest.find(self.separator.as_str()).unwrap_or(rest.len());
        let line = rest.find(['\n', '\r']).unwrap_or(rest.len());
        let (value, after) = rest.split_at_checked(separator.min(line)).unwrap_or((rest, ""));
        if self.quote.is_some_and(|quote| value.contains(quote)) {
            return Err(Malformed::StrayQuote);
        }
        Ok(((!value.is_empty()).then(|| text.part(value)), after))
    }
}

/// The quoted value that `rest` begins with, and what is after it.
fn quoted<'a>(text: &Text, rest: &'a str, quote: char) -> Result<(Option<Text>, &'a str), Malformed> {
    let inside = rest.get(quote.len_utf8()..).unwrap_or_default();
    let mut value = String::new();
    let mut left = inside;
    loop {
        let (before, after) = left.split_once(quote).ok_or(Malformed::Unclosed)?;
        match after.strip_prefix(quote) {
            Some(more) => {
                value.push_str(before);
                value.push(quote);
                left = more;
            }
            None if value.is_empty() => return Ok((Some(text.part(before)), after)),
            None => {
                value.push_str(before);
                return Ok((Some(value.into()), after));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn comma() -> Dialect {
        Dialect { separator: ",".into(), quote: Some('"') }
    }

    fn row(text: &str) -> Result<Vec<Option<String>>, Malformed> {
        let values = comma().row(&Text::from(text))?.unwrap_or_default();
        Ok(values.into_iter().map(|value| value.map(|text| text.to_string())).collect())
    }

    #[test]
    fn an_empty_value_is_nothing_and_a_quoted_empty_one_is_a_text() {
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(row("a,,\"\",\"b,\"\"c\"\"\""), Ok(vec![text("a"), None, text(""), text("b,\"c\"")]));
        assert_eq!(row("a\nb"), Ok(vec![text("a")]));
        assert_eq!(comma().row(&Text::from("")), Ok(None));
    }

    #[test]
    fn quotes_where_none_belong_are_told() {
        assert_eq!(row("a\"b"), Err(Malformed::StrayQuote));
        assert_eq!(row("\"a\"b"), Err(Malformed::StrayQuote));
        assert_eq!(row("\"a"), Err(Malformed::Unclosed));
    }

    proptest! {
        #[test]
        fn what_is_quoted_is_read_back(values in prop::collection::vec("[a\", \n	]{0,6}", 1..5)) {
            let quoted: Vec<String> = values.iter().map(|v| format!("\"{}\"", v.replace('"', "\"\""))).collect();
            prop_assert_eq!(row(&quoted.join(",")), Ok(values.into_iter().map(Some).collect()));
        }

        #[test]
        fn no_text_upsets_the_reader(text in ".{0,40}") {
            let _either = row(&text);
        }
    }
}
