//! Parses values: strings, words, numbers, arrays, hashes and plugins as values.
use super::ast::{Name, Node, Raw, Span};
use super::cursor::is_word;
use super::parse::{Parser, short};
use crate::floats::push_ruby;

impl Parser<'_, '_> {
    /// Parses the value that is next; reports when there is none.
    pub(crate) fn value(&mut self) -> Option<Node> {
        let start = self.at.at;
        match self.at.peek() {
            Some(quote @ ('"' | '\'')) => {
                let (text, span) = self.string(quote);
                Some(self.text_or_plugin(text, span))
            }
            Some('[') => Some(self.list()),
            Some('{') => Some(self.hash()),
            Some(c) if c.is_ascii_digit() || c == '-' => {
                let number = self.at.number().map(|(text, span)| Raw::Number(self.number(text, span)));
                self.bare_end(start, number)
            }
            Some(c) if c.is_ascii_alphabetic() || c == '_' => Some(self.word_or_plugin(start)),
            Some('$') if self.at.rest().starts_with("${") => Some(self.unquoted_variable(start)),
            Some(_)
                if !self.at.rest().starts_with("=>") && !self.at.rest().starts_with(['}', ']', ')', ',']) =>
            {
                self.bare_end(start, None)
            }
            _ => {
                let here = self.at.here();
                self.wrong(
                    here,
                    "expected a value",
                    "a value is a text in quotes, a number, a word, `[ … ]` or `{ … }`",
                );
                None
            }
        }
    }

    /// A number; digits after a zero are octal, as in Ruby.
    pub(super) fn number(&mut self, text: &str, span: Span) -> String {
        let (sign, digits) = text.strip_prefix('-').map_or(("", text), |digits| ("-", digits));
        if digits.contains('.') {
            let mut written = String::new();
            // Numbers with a fraction are floats from the start.
            match text.parse() {
                Ok(number) => push_ruby(number, &mut written),
                Err(_) => written.push_str(text),
            }
            return written;
        }
        if digits.len() == 1 || !digits.starts_with('0') {
            return text.to_owned();
        }
        match u64::from_str_radix(digits, 8) {
            Ok(number) => {
                self.problems
                    .warning(
                        span,
                        format!("`{}` is {sign}{number}: digits after a zero are octal", short(text)),
                    )
                    .hint("leave out the zero, or write quotes");
                format!("{sign}{number}")
            }
            Err(_) => {
                let hint = format!(
                    "digits after a zero are octal, as in Logstash: write {sign}{}",
                    digits.trim_start_matches('0')
                );
                self.wrong(span, format!("`{}` is no number", short(text)), hint);
                text.to_owned()
            }
        }
    }

    /// A quoted text, or a plugin whose name is quoted, `"json" { … }`.
    fn text_or_plugin(&mut self, text: &str, span: Span) -> Node {
        let mut ahead = self.at;
        ahead.skip_blank();
        let is_name = !text.is_empty() && text.chars().all(is_word);
        match ahead.eat("{") {
            Some(opener) if is_name => {
                self.at = ahead;
                let call = self.call(Name { text: text.to_owned(), span }, opener);
                Node::new(Raw::Plugin(call), self.at.since(span.start))
            }
            _ => Node::new(Raw::Text(text.to_owned()), span),
        }
    }

    /// A word, or a plugin with its settings, `json { … }`.
    fn word_or_plugin(&mut self, start: usize) -> Node {
        let mut ahead = self.at;
        if let Some((word, span)) = ahead.word() {
            let name_ends = ahead;
            ahead.skip_blank();
            if let Some(opener) = ahead.eat("{") {
                self.at = ahead;
                let call = self.call(Name { text: word.to_owned(), span }, opener);
                return Node::new(Raw::Plugin(call), self.at.since(start));
            }
            self.at = name_ends;
        }
        let word = self.at.text.get(start..self.at.at).unwrap_or("").to_owned();
        let raw = (!word.contains('-')).then_some(Raw::Word(word));
        self.bare_end(start, raw).unwrap_or_else(|| Node::new(Raw::Word(String::new()), self.at.since(start)))
    }

    /// Ends a value without quotes: it must not go on with characters that only quotes allow.
    fn bare_end(&mut self, start: usize, raw: Option<Raw>) -> Option<Node> {
        let ends = self.at.peek().is_none_or(|c| {
            c.is_whitespace()
                || matches!(c, '}' | ']' | ')' | ',' | '{' | '[' | '#')
                || self.at.rest().starts_with("=>")
        });
        if let Some(raw) = raw.filter(|_| ends) {
            return Some(Node::new(raw, self.at.since(start)));
        }
        if !ends {
            self.at.chunk();
        }
        let span = self.at.since(start);
        let text = self.at.text.get(span.start..span.end).unwrap_or("").to_owned();
        let hint = format!("write \"{}\"", short(&text));
        self.wrong(span, format!("the value `{}` needs quotes", short(&text)), hint);
        Some(Node::new(Raw::Text(text), span))
    }

    /// `${NAME}` without quotes.
    fn unquoted_variable(&mut self, start: usize) -> Node {
        self.at.take_while(|c| c != '}' && c != '\n');
        self.at.eat("}");
        let span = self.at.since(start);
        let text = self.at.text.get(span.start..span.end).unwrap_or("").to_owned();
        self.wrong(span, format!("`{}` needs quotes", short(&text)), format!("write \"{}\"", short(&text)));
        Node::new(Raw::Text(text), span)
    }

    fn list(&mut self) -> Node {
        let opener = self.at.here();
        self.at.step();
        let mut items = Vec::new();
        if !self.enter(opener) {
            self.skip_deep('[', ']');
            return Node::new(Raw::List(items), self.at.since(opener.start));
        }
        let mut after_value = false;
        loop {
            self.at.skip_blank();
            match self.at.peek() {
                Some(']') => {
                    self.close(opener);
                    break;
                }
                None | Some('}') => {
                    self.unclosed(opener, "]");
                    break;
                }
                Some(_) if self.at_section() || self.at_setting() => {
                    self.unclosed(opener, "]");
                    break;
                }
                Some(',') => {
                    let here = self.at.here();
                    self.at.step();
                    self.at.skip_blank();
                    if !after_value {
                        self.wrong(here, "a value is missing before this comma", "remove the comma");
                    } else if self.at.peek() == Some(']') {
                        self.problems
                            .warning(here, "there is nothing after this comma")
                            .hint("Logstash does not allow it: remove it");
                    }
                    after_value = false;
                }
                Some(_) => {
                    if after_value {
                        let here = self.at.here();
                        self.wrong(here, "expected `,` or `]`", "values in an array are separated by commas");
                    }
                    after_value = true;
                    let before = self.at.at;
                    items.extend(self.value());
                    if self.at.at == before {
                        self.at.chunk();
                    }
                }
            }
        }
        self.leave();
        Node::new(Raw::List(items), self.at.since(opener.start))
    }

    fn hash(&mut self) -> Node {
        let opener = self.at.here();
        self.at.step();
        let mut entries = Vec::new();
        if !self.enter(opener) {
            self.at.skip_block();
            return Node::new(Raw::Hash(entries), self.at.since(opener.start));
        }
        loop {
            self.at.skip_blank();
            match self.at.peek() {
                Some('}') => {
                    self.close(opener);
                    break;
                }
                None => {
                    self.unclosed(opener, "}");
                    break;
                }
                Some(_) if self.at_section() => {
                    self.unclosed(opener, "}");
                    break;
                }
                Some(',') => {
                    let here = self.at.here();
                    self.wrong(here, "entries of a hash are not separated by commas", "remove the comma");
                    self.at.step();
                }
                Some(_) => entries.extend(self.entry()),
            }
        }
        self.leave();
        Node::new(Raw::Hash(entries), self.at.since(opener.start))
    }

    fn entry(&mut self) -> Option<(Node, Node)> {
        let key = self.key()?;
        let name = Name { text: key.text().unwrap_or("").to_owned(), span: key.span };
        self.arrow(&name)?;
        self.at.skip_blank();
        let value = self.value()?;
        Some((key, value))
    }

    fn key(&mut self) -> Option<Node> {
        let start = self.at.at;
        match self.at.peek() {
            Some(quote @ ('"' | '\'')) => {
                let (text, span) = self.string(quote);
                Some(Node::new(Raw::Text(text.to_owned()), span))
            }
            Some(c) if c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '@' | '/' | '.') => {
                let raw = match self.at.number() {
                    Some((number, _)) => Some(Raw::Number(number.to_owned())),
                    None => {
                        self.at.word().filter(|(w, _)| !w.contains('-')).map(|(w, _)| Raw::Word(w.to_owned()))
                    }
                };
                self.bare_end(start, raw)
            }
            Some('[') => {
                let chunk = self.at.take_while(|c| c != '=' && c != '\n').trim_end();
                self.at.at = start + chunk.len();
                let span = self.at.since(start);
                self.wrong(span, "a key of a hash needs quotes", format!("write \"{}\"", short(chunk)));
                Some(Node::new(Raw::Text(chunk.to_owned()), span))
            }
            _ => {
                let span = self.at.chunk();
                let found = short(self.at.text.get(span.start..span.end).unwrap_or(""));
                self.wrong(
                    span,
                    format!("expected a key of the hash, found `{found}`"),
                    "write `\"key\" => value`",
                );
                None
            }
        }
    }

    /// Skips to the closer of an already read opener, over strings.
    pub(crate) fn skip_deep(&mut self, opener: char, closer: char) {
        let mut open = 1_usize;
        while let Some(c) = self.at.peek() {
            match c {
                '"' | '\'' => {
                    self.at.quoted(c);
                    continue;
                }
                c if c == opener => open += 1,
                c if c == closer => open -= 1,
                _ => {}
            }
            self.at.step();
            if open == 0 {
                return;
            }
        }
    }
}
