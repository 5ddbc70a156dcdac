//! Goes on after problems: tells each mistake once, guesses which closer was forgotten, skips what nobody can read.
use super::ast::Span;
use super::cursor::is_word;
use super::parse::Parser;

impl Parser<'_, '_> {
    /// Reports a problem, unless one was just reported at the same place.
    pub(crate) fn wrong(&mut self, span: Span, message: impl Into<String>, hint: impl Into<String>) {
        if self.told_at == Some(span.start) {
            return;
        }
        self.told_at = Some(span.start);
        let problem = self.problems.error(span, message);
        let hint = hint.into();
        if !hint.is_empty() {
            problem.hint(hint);
        }
    }

    /// Moves over a closer and notes whether its indentation fits its opener's.
    pub(crate) fn close(&mut self, opener: Span) {
        let (indent, first) = self.problems.indent_of(self.at.here());
        self.at.step();
        if self.suspicious.is_none() && first && indent != self.problems.indent_of(opener).0 {
            self.suspicious = Some(opener);
        }
    }

    /// Reports an opener without closer.
    pub(crate) fn unclosed(&mut self, opener: Span, closer: &str) {
        self.owed += usize::from(closer == "}");
        let opened = self.at.text.get(opener.start..opener.end);
        let symbol = opened.filter(|symbol| matches!(*symbol, "[" | "(")).unwrap_or("{");
        let until = match self.at.peek_word() {
            Some(next) if self.at_section() || self.at_forgotten_end() => format!(" before `{next}`"),
            _ => String::new(),
        };
        match self.suspicious.take() {
            Some(other) if other.start > opener.start && closer == "}" => {
                let line = self.problems.line_of(opener);
                let hint = format!(
                    "add `}}` where the indentation says; without it, the `{symbol}` in line {line} is never closed{until}"
                );
                self.wrong(other, "this `{` is closed by the `}` of another one", hint);
            }
            _ => self.wrong(
                opener,
                format!("this `{symbol}` is never closed{until}"),
                format!("add `{closer}`"),
            ),
        }
    }

    /// Skips to the end of the next block, or to the next line that begins a section.
    pub(super) fn skip_to_block_end(&mut self) {
        loop {
            self.at.skip_blank();
            match self.at.peek() {
                None | Some('}') => return,
                Some('{') => {
                    self.at.step();
                    self.at.skip_block();
                    return;
                }
                Some(quote @ ('"' | '\'')) => {
                    self.at.quoted(quote);
                }
                Some(_) if self.at_section() => return,
                Some(c) if is_word(c) => {
                    self.at.word();
                }
                Some(_) => self.at.step(),
            }
        }
    }
}
