//! Parses a text into its tree: sections, plugins, branches; goes on after each problem, to find them all.
//!
//! Nothing here recurses deeper than [`MAX_DEPTH`]: what is nested deeper is reported and skipped.
use super::ast::{Arm, Branches, Call, Item, Name, Section, SectionKind, Setting, Span, Text};
use super::cursor::{Cursor, Quoted, is_word};
use super::problems::Problems;
use super::suggest::closest;

/// How deep blocks, arrays, hashes and parentheses may be nested.
pub(crate) const MAX_DEPTH: usize = 100;

/// Parses a text; the tree holds everything that could be made sense of.
pub(crate) fn parse(text: &str, problems: &mut Problems) -> Text {
    let mut parser = Parser::new(text, problems);
    let mut sections = Vec::new();
    loop {
        parser.at.skip_blank();
        if parser.at.at_end() {
            return Text { sections };
        }
        sections.extend(parser.section());
    }
}

/// Parses a single value, as the default of an option is written.
pub(crate) fn parse_value(text: &str, problems: &mut Problems) -> Option<super::ast::Node> {
    let mut parser = Parser::new(text, problems);
    parser.at.skip_blank();
    parser.value()
}

pub(crate) struct Parser<'a, 'p> {
    pub(crate) at: Cursor<'a>,
    pub(crate) problems: &'p mut Problems,
    depth: usize,
    /// The place of the newest problem, so that one mistake is not told twice.
    pub(super) told_at: Option<usize>,
    /// How many openers were given up; as many closers without opener are expected later.
    pub(super) owed: usize,
    /// The first opener whose closer is indented differently: probably where a closer is missing.
    pub(super) suspicious: Option<Span>,
}

impl<'a, 'p> Parser<'a, 'p> {
    fn new(text: &'a str, problems: &'p mut Problems) -> Self {
        Self { at: Cursor::new(text), problems, depth: 0, told_at: None, owed: 0, suspicious: None }
    }

    // ---- sections

    fn section(&mut self) -> Option<Section> {
        let Some((word, head)) = self.at.word() else {
            self.stray();
            return None;
        };
        let kind = match section_kind(word) {
            Some(kind) => kind,
            None => self.unknown_section(word, head)?,
        };
        let body = self.block(head, &format!("`{word}`"))?;
        self.suspicious = None;
        Some(Section { kind, head, body })
    }

    /// Says what a word at the top may be; answers the section that was probably meant.
    fn unknown_section(&mut self, word: &str, head: Span) -> Option<SectionKind> {
        let expected = format!("expected `input`, `filter` or `output`, found `{word}`");
        let mut ahead = self.at;
        ahead.skip_blank();
        if let Some(near) = closest(word, ["input", "filter", "output", "inputs", "filters", "outputs"]) {
            let near = near.trim_end_matches('s');
            self.wrong(head, expected, format!("did you mean `{near}`?"));
            return section_kind(near).filter(|_| ahead.peek() == Some('{'));
        }
        let hint = match word {
            "if" | "else" => "conditions stand inside of `filter { … }` or `output { … }`".to_owned(),
            _ => match super::section_of_plugin(word) {
                Some(section) => format!("put it into a section: `{section} {{ {word} {{ … }} }}`"),
                None => {
                    "a configuration is made of `input { … }`, `filter { … }` and `output { … }`".to_owned()
                }
            },
        };
        self.wrong(head, expected, hint);
        self.skip_to_block_end();
        None
    }

    /// Reports what stands at the top and begins nothing.
    fn stray(&mut self) {
        let here = self.at.here();
        if self.at.eat("}").is_some() {
            if self.owed > 0 {
                self.owed -= 1;
            } else {
                self.wrong(
                    here,
                    "this `}` closes nothing",
                    "remove it, or look for a `}` too many before it",
                );
            }
            return;
        }
        let span = self.at.chunk();
        let found = self.at.text.get(span.start..span.end).unwrap_or("");
        self.wrong(
            span,
            format!("expected `input`, `filter` or `output`, found `{}`", short(found)),
            "a configuration is made of `input { … }`, `filter { … }` and `output { … }`",
        );
    }

    /// Whether a section begins here: it can stand nowhere but at the top.
    pub(crate) fn at_section(&self) -> bool {
        matches!(self.at.peek_word_and_after(), Some(("input" | "filter" | "output", Some('{'))))
    }

    // ---- openers and closers

    /// Parses `{ … }` with plugins and branches; a forgotten `{` is told and assumed.
    fn block(&mut self, after: Span, what: &str) -> Option<Vec<Item>> {
        if let Some(opener) = self.open(after, what) {
            return Some(self.items(opener));
        }
        let mut ahead = self.at;
        ahead.skip_blank();
        if ahead.at_end() || ahead.peek() == Some('}') || self.at_section() {
            return None;
        }
        Some(self.items(after))
    }

    /// Moves over a `{`; without one, says after what it is missing.
    fn open(&mut self, after: Span, what: &str) -> Option<Span> {
        let mut ahead = self.at;
        ahead.skip_blank();
        match ahead.eat("{") {
            Some(opener) => {
                self.at = ahead;
                Some(opener)
            }
            None => {
                self.wrong(after, format!("expected `{{` after {what}"), "");
                None
            }
        }
    }

    /// Enters one more level; too deep is reported and skipped by whoever asked.
    pub(crate) fn enter(&mut self, opener: Span) -> bool {
        if self.depth >= MAX_DEPTH {
            self.wrong(
                opener,
                format!("nested deeper than {MAX_DEPTH} levels"),
                "flatten it: this is never needed",
            );
            return false;
        }
        self.depth += 1;
        true
    }

    pub(crate) fn leave(&mut self) {
        self.depth -= 1;
    }

    // ---- plugins and branches

    /// Parses what stands between `opener` and its `}`.
    fn items(&mut self, opener: Span) -> Vec<Item> {
        let mut items = Vec::new();
        if !self.enter(opener) {
            self.at.skip_block();
            return items;
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
                Some(_) => items.extend(self.item()),
            }
        }
        self.leave();
        items
    }

    fn item(&mut self) -> Option<Item> {
        match self.at.peek_word_and_after() {
            Some(("if", _)) => return Some(Item::If(self.branches())),
            Some((word @ ("else" | "elsif" | "elseif" | "elif"), _)) => {
                let (_, span) = self.at.word()?;
                self.wrong(
                    span,
                    format!("`{word}` without `if`"),
                    "it stands right after the `}` of an `if`",
                );
                return self.orphaned_branch(word == "else");
            }
            _ => {}
        }
        let name = match self.name() {
            Some(name) => name,
            None => {
                let span = self.at.chunk();
                let found = short(self.at.text.get(span.start..span.end).unwrap_or(""));
                self.wrong(
                    span,
                    format!("expected a plugin or `if`, found `{found}`"),
                    "a plugin is written `name { … }`",
                );
                return None;
            }
        };
        self.at.skip_blank();
        if self.at.rest().starts_with("=>") {
            self.wrong(
                name.span,
                format!("the setting `{}` stands outside of a plugin", name.text),
                "settings stand inside of a plugin: `name { key => value }`",
            );
            self.at.eat("=>");
            self.at.skip_blank();
            self.value();
            return None;
        }
        let opener = match self.open(name.span, &format!("the plugin's name `{}`", name.text)) {
            Some(opener) => opener,
            None if self.at_setting() => name.span,
            None => return None,
        };
        Some(Item::Plugin(self.call(name, opener)))
    }

    fn orphaned_branch(&mut self, may_have_if: bool) -> Option<Item> {
        self.at.skip_blank();
        let has_condition = !may_have_if || self.at.peek_word() == Some("if");
        if may_have_if && has_condition {
            self.at.word();
        }
        let before = self.at.here();
        if has_condition {
            self.condition();
        }
        self.block(before, "the condition");
        None
    }

    /// Parses `if` and everything that belongs to it.
    fn branches(&mut self) -> Branches {
        let mut arms = Vec::new();
        let mut otherwise = None;
        let mut head = self.at.word().map_or(Span::default(), |(_, span)| span);
        loop {
            arms.extend(self.arm(head));
            match self.next_arm() {
                Some(Next::ElseIf(next)) => head = next,
                Some(Next::Else(span)) => {
                    otherwise = self.block(span, "`else`");
                    break;
                }
                None => break,
            }
        }
        Branches { arms, otherwise }
    }

    fn arm(&mut self, head: Span) -> Option<Arm> {
        self.at.skip_blank();
        let start = self.at.at;
        let condition = self.condition();
        let body = self.block(Span::new(start, self.at.at.max(start + 1)), "the condition")?;
        Some(Arm { head, condition, body })
    }

    /// Moves over `else if` or `else`, and over what people write instead.
    fn next_arm(&mut self) -> Option<Next> {
        let mut ahead = self.at;
        ahead.skip_blank();
        let (word, head) = ahead.word()?;
        match word {
            "else" => {
                self.at = ahead;
                ahead.skip_blank();
                match ahead.word() {
                    Some(("if", span)) => {
                        self.at = ahead;
                        Some(Next::ElseIf(head.to(span)))
                    }
                    _ => Some(Next::Else(head)),
                }
            }
            // There need not be a blank.
            "elseif" => {
                self.at = ahead;
                Some(Next::ElseIf(head))
            }
            "elsif" | "elif" => {
                self.at = ahead;
                self.wrong(head, format!("there is no `{word}`"), "write `else if`");
                Some(Next::ElseIf(head))
            }
            _ => None,
        }
    }

    /// Parses the settings of a plugin whose `{` was just read.
    pub(crate) fn call(&mut self, name: Name, opener: Span) -> Call {
        let errors = self.problems.errors();
        let settings = self.settings(opener);
        Call { name, settings, whole: self.problems.errors() == errors }
    }

    fn settings(&mut self, opener: Span) -> Vec<Setting> {
        let mut settings = Vec::new();
        if !self.enter(opener) {
            self.at.skip_block();
            return settings;
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
                Some(_) if self.at_section() || self.at_forgotten_end() => {
                    self.unclosed(opener, "}");
                    break;
                }
                Some(',') => {
                    let here = self.at.here();
                    self.wrong(here, "settings are not separated by commas", "remove the comma");
                    self.at.step();
                }
                Some(_) if matches!(self.at.peek_word_and_after(), Some(("if", Some(c))) if c != '=') => {
                    let head = self.at.here();
                    self.wrong(
                        Span::new(head.start, head.start + 2),
                        "a condition cannot stand inside of a plugin",
                        "put the `if` around the plugin: `if … { plugin { … } }`",
                    );
                    let mark = self.problems.mark();
                    self.branches();
                    self.problems.forget(mark);
                }
                Some(_) => settings.extend(self.setting()),
            }
        }
        self.leave();
        settings
    }

    /// Whether the next thing is a plugin, so that the closer of this one was forgotten.
    pub(super) fn at_forgotten_end(&self) -> bool {
        match self.at.peek_word_and_after() {
            Some((word, Some('{'))) => super::section_of_plugin(word).is_some(),
            _ => false,
        }
    }

    /// Whether `key =>` is next.
    pub(crate) fn at_setting(&self) -> bool {
        let mut ahead = self.at;
        ahead.skip_blank();
        ahead.word().is_some() && {
            ahead.skip_blank();
            ahead.eat("=>").is_some()
        }
    }

    fn setting(&mut self) -> Option<Setting> {
        let Some(key) = self.name() else {
            let span = self.at.chunk();
            let found = short(self.at.text.get(span.start..span.end).unwrap_or(""));
            self.wrong(
                span,
                format!("expected a setting, found `{found}`"),
                "a setting is written `key => value`",
            );
            return None;
        };
        self.arrow(&key)?;
        self.at.skip_blank();
        let value = self.value()?;
        Some(Setting { key, value })
    }

    /// Moves over `=>`, or over what people write instead.
    pub(crate) fn arrow(&mut self, key: &Name) -> Option<()> {
        let mut ahead = self.at;
        ahead.skip_blank();
        if ahead.eat("=>").is_some() {
            self.at = ahead;
            return Some(());
        }
        for instead in ["==", "= >", "=", ":=", ":", "->", "~>"] {
            if let Some(span) = ahead.eat(instead) {
                self.at = ahead;
                self.wrong(span, format!("expected `=>`, found `{instead}`"), "write `key => value`");
                return Some(());
            }
        }
        let same_line = !self.at.text.get(self.at.at..ahead.at).unwrap_or("").contains('\n');
        let can_be_value =
            ahead.peek().is_some_and(|c| matches!(c, '"' | '\'' | '[' | '{' | '-') || is_word(c));
        if can_be_value && same_line {
            self.wrong(
                key.span,
                format!("expected `=>` after `{}`", short(&key.text)),
                "write `key => value`",
            );
            return Some(());
        }
        self.wrong(key.span, format!("`{}` has no value", short(&key.text)), "write `key => value`");
        None
    }

    /// Moves over a name: a word or a quoted text.
    pub(crate) fn name(&mut self) -> Option<Name> {
        if let Some(quote @ ('"' | '\'')) = self.at.peek() {
            let (text, span) = self.string(quote);
            return Some(Name { text: text.to_owned(), span });
        }
        self.at.word().map(|(word, span)| Name { text: word.to_owned(), span })
    }

    /// Moves over a quoted text.
    pub(crate) fn string(&mut self, quote: char) -> (&'a str, Span) {
        let start = self.at.at;
        match self.at.quoted(quote) {
            Quoted::Closed(text) => (text, self.at.since(start)),
            Quoted::Open(text) => {
                let span = self.at.since(start);
                self.wrong(span, "this text has no closing quote", format!("add `{quote}`"));
                (text, span)
            }
        }
    }
}

enum Next {
    ElseIf(Span),
    Else(Span),
}

fn section_kind(word: &str) -> Option<SectionKind> {
    match word {
        "input" => Some(SectionKind::Input),
        "filter" => Some(SectionKind::Filter),
        "output" => Some(SectionKind::Output),
        _ => None,
    }
}

/// At most the first 40 characters of a text, for messages.
pub(crate) fn short(text: &str) -> String {
    let mut chars = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    let mut short: String = chars.by_ref().take(40).collect();
    if chars.next().is_some() {
        short.push('…');
    }
    short
}
