//! Finds the numbers of a JSON text as they are written there, for those that a float would not hold exactly.
use crate::value::Decimal;
use std::cell::Cell;

/// The numbers of a text, in their order. Which of them is being read is counted; the text is looked at only when one is
/// asked for.
pub(super) struct Numbers<'t> {
    rest: Cell<&'t str>,
    /// How many numbers begin before what is being read and behind the start of `rest`.
    passed: Cell<usize>,
}

impl<'t> Numbers<'t> {
    /// Those of `text`, none of them read.
    pub(super) fn of(text: &'t str) -> Self {
        Self { rest: Cell::new(text), passed: Cell::new(0) }
    }

    /// One more number was read.
    pub(super) fn pass(&self) {
        self.passed.set(self.passed.get() + 1);
    }

    /// The number that was read last, exactly.
    pub(super) fn exact(&self) -> Option<Decimal> {
        let mut last = None;
        for _ in 0..self.passed.replace(0) {
            let (number, rest) = next(self.rest.get())?;
            self.rest.set(rest);
            last = Some(number);
        }
        let number = last?;
        if number.contains(['.', 'e', 'E']) { Decimal::fraction(number) } else { Decimal::whole(number) }
    }
}

/// The first number of a JSON text, and what follows it.
fn next(text: &str) -> Option<(&str, &str)> {
    let mut at = 0;
    let bytes = text.as_bytes();
    loop {
        match bytes.get(at)? {
            b'"' => at += string_length(bytes.get(at..)?),
            b'-' | b'0'..=b'9' => break,
            _ => at += 1,
        }
    }
    let number = text.get(at..)?;
    let end =
        number.bytes().take_while(|b| matches!(b, b'-' | b'+' | b'.' | b'e' | b'E' | b'0'..=b'9')).count();
    number.split_at_checked(end)
}

/// How many bytes a string has, with its quotes.
fn string_length(bytes: &[u8]) -> usize {
    let mut at = 1;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_that_was_read_last_is_found_behind_strings_and_other_numbers() {
        let numbers =
            Numbers::of(r#"{"a1": "2 \"3\" \\", "b": [4, -5.50], "c": {"6": 7e2, "d": "8"}, "e": 99}"#);
        numbers.pass();
        numbers.pass();
        assert_eq!(numbers.exact().unwrap().as_str(), "-5.50");
        numbers.pass();
        assert_eq!(numbers.exact().unwrap().as_str(), "7E+2");
        numbers.pass();
        let last = numbers.exact().unwrap();
        assert_eq!((last.as_str(), last.is_whole()), ("99", true));
        assert_eq!(numbers.exact(), None);
    }
}
