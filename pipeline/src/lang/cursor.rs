//! Walks over a text: blanks, comments, words, strings, numbers; knows nothing of the grammar above them.
use super::ast::Span;

/// A place in a text, moving forward only.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cursor<'a> {
    pub(crate) text: &'a str,
    pub(crate) at: usize,
}

/// What was found where a quoted text was begun.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Quoted<'a> {
    /// The text between the quotes.
    Closed(&'a str),
    /// There is no closing quote, or the next quote clearly opens another text; the rest of the line is taken.
    Open(&'a str),
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        let at = if text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
        Self { text, at }
    }

    pub(crate) fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or("")
    }

    pub(crate) fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    pub(crate) fn at_end(&self) -> bool {
        self.at >= self.text.len()
    }

    /// The place of the next character; empty at the end.
    pub(crate) fn here(&self) -> Span {
        Span::new(self.at, self.at + self.peek().map_or(0, char::len_utf8))
    }

    /// The place from `start` to here.
    pub(crate) fn since(&self, start: usize) -> Span {
        Span::new(start, self.at)
    }

    /// Moves over one character.
    pub(crate) fn step(&mut self) {
        self.at += self.peek().map_or(0, char::len_utf8);
    }

    /// Moves over `token`, if it is next.
    pub(crate) fn eat(&mut self, token: &str) -> Option<Span> {
        let start = self.at;
        self.rest().starts_with(token).then(|| {
            self.at += token.len();
            self.since(start)
        })
    }

    /// Moves over blanks and comments.
    pub(crate) fn skip_blank(&mut self) {
        loop {
            self.take_while(|c| c.is_whitespace());
            if self.peek() != Some('#') {
                return;
            }
            self.take_while(|c| c != '\n');
        }
    }

    /// Moves over characters as long as they are wanted.
    pub(crate) fn take_while(&mut self, wanted: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let len = rest.find(|c| !wanted(c)).unwrap_or(rest.len());
        self.at += len;
        rest.get(..len).unwrap_or("")
    }

    /// Moves over a word of letters, digits, `_` and `-`, if one is next.
    pub(crate) fn word(&mut self) -> Option<(&'a str, Span)> {
        let start = self.at;
        let word = self.take_while(is_word);
        (!word.is_empty()).then(|| (word, self.since(start)))
    }

    /// The word that is next, without moving.
    pub(crate) fn peek_word(&self) -> Option<&'a str> {
        self.clone_word().map(|(word, _)| word)
    }

    /// The word that is next and the first character after it that is not blank, without moving.
    pub(crate) fn peek_word_and_after(&self) -> Option<(&'a str, Option<char>)> {
        let (word, mut after) = self.clone_word()?;
        after.skip_blank();
        Some((word, after.peek()))
    }

    fn clone_word(&self) -> Option<(&'a str, Self)> {
        let mut ahead = *self;
        let (word, _) = ahead.word()?;
        Some((word, ahead))
    }

    /// Moves over a number: `-`, digits, a point and digits. `None` when the next thing is none.
    pub(crate) fn number(&mut self) -> Option<(&'a str, Span)> {
        let start = self.at;
        let mut ahead = *self;
        ahead.eat("-");
        if ahead.take_while(|c| c.is_ascii_digit()).is_empty() {
            return None;
        }
        if ahead.eat(".").is_some() {
            ahead.take_while(|c| c.is_ascii_digit());
        }
        *self = ahead;
        Some((self.text.get(start..self.at)?, self.since(start)))
    }

    /// Moves over everything that stands together without blanks, brackets, quotes or commas.
    pub(crate) fn chunk(&mut self) -> Span {
        let start = self.at;
        self.take_while(|c| {
            !c.is_whitespace() && !matches!(c, '{' | '}' | '[' | ']' | '(' | ')' | ',' | '"' | '\'' | '#')
        });
        if self.at == start {
            self.step();
        }
        self.since(start)
    }

    /// Moves over a quoted text whose opening quote is next. A backslash keeps the closing quote from closing and stays
    /// in the text.
    ///
    /// When the text goes over the end of its line and what follows the closing quote cannot follow a text, the quote
    /// that was forgotten is this one: then the text is taken to end with its line.
    pub(crate) fn quoted(&mut self, quote: char) -> Quoted<'a> {
        self.step();
        let start = self.at;
        let rest = self.rest();
        let mut escaped = false;
        let close = rest.find(|c| {
            let closes = c == quote && !escaped;
            escaped = c == '\\' && !escaped;
            closes
        });
        let line_end = rest.find('\n').unwrap_or(rest.len());
        if let Some(len) = close {
            let after = rest.get(len + quote.len_utf8()..).unwrap_or("").chars().next();
            if len < line_end || can_follow_text(after) {
                self.at = start + len + quote.len_utf8();
                return Quoted::Closed(rest.get(..len).unwrap_or(""));
            }
        }
        let line = without_closers(rest.get(..line_end).unwrap_or(""));
        self.at = start + line.len();
        Quoted::Open(line)
    }

    /// Moves past the `}` that closes an already read `{`, over strings and comments, without looking at what is inside.
    pub(crate) fn skip_block(&mut self) {
        let mut open = 1_usize;
        while let Some(c) = self.peek() {
            match c {
                '"' | '\'' => {
                    self.quoted(c);
                    continue;
                }
                '#' => self.skip_blank(),
                '{' => {
                    open += 1;
                    self.step();
                }
                '}' => {
                    open -= 1;
                    self.step();
                    if open == 0 {
                        return;
                    }
                }
                _ => self.step(),
            }
        }
    }
}

/// Whether a character belongs to a word.
pub(crate) fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '-')
}

/// A line without brackets, braces and commas at its end that stand apart: they belong to what is around the text.
fn without_closers(line: &str) -> &str {
    let mut text = line.trim_end();
    loop {
        let shorter = text.trim_end_matches(['{', '}', ']', ')', ',']);
        if shorter.len() == text.len() || !shorter.ends_with([' ', '\t']) {
            return text;
        }
        text = shorter.trim_end();
    }
}

fn can_follow_text(next: Option<char>) -> bool {
    next.is_none_or(|c| {
        c.is_whitespace() || matches!(c, '}' | ']' | ')' | ',' | '=' | '#' | '!' | '<' | '>' | '{')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quoted(text: &str) -> (Quoted<'_>, &str) {
        let mut cursor = Cursor::new(text);
        let found = cursor.quoted('"');
        (found, cursor.rest())
    }

    #[test]
    fn a_quoted_text_ends_at_its_quote() {
        assert_eq!(quoted(r#""a b" c"#), (Quoted::Closed("a b"), " c"));
        assert_eq!(quoted(r#""a\"b""#), (Quoted::Closed(r#"a\"b"#), ""));
        assert_eq!(quoted(r#""a\\" b"#), (Quoted::Closed(r"a\\"), " b"));
        assert_eq!(quoted("\"two\nlines\"\n"), (Quoted::Closed("two\nlines"), "\n"));
    }

    #[test]
    fn a_forgotten_quote_is_noticed_on_its_own_line() {
        assert_eq!(quoted("\"a\nb => \"c\"\n"), (Quoted::Open("a"), "\nb => \"c\"\n"));
        assert_eq!(quoted("\"a\r\n}"), (Quoted::Open("a"), "\r\n}"));
        assert_eq!(quoted("\""), (Quoted::Open(""), ""));
        assert_eq!(quoted("\"a{b} ] }\nc"), (Quoted::Open("a{b}"), " ] }\nc"));
    }

    #[test]
    fn numbers_are_taken_with_sign_and_fraction() {
        let number = |text| Cursor::new(text).number().map(|(n, _)| n);
        assert_eq!(number("-12.5 x"), Some("-12.5"));
        assert_eq!(number("3"), Some("3"));
        assert_eq!(number("3."), Some("3."));
        assert_eq!(number("-"), None);
        assert_eq!(number("x"), None);
    }
}
