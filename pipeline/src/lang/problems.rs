//! Collects problems while a text is read, and turns them into diagnostics at the end.
use std::collections::HashMap;

use config::diagnostic::{Diagnostic, Severity};

use super::ast::Span;

/// How many problems of one text are told; more help nobody.
const TOLD: usize = 100;

/// How many problems of one text are kept, so that the first ones of it can be told.
const KEPT: usize = 2000;

/// How many characters a message may have.
const LONGEST: usize = 1000;

/// From this length on, a part of a value from the environment is taken to give it away.
const TELLING: usize = 8;

/// The problems found so far.
#[derive(Debug, Default)]
pub(crate) struct Problems {
    list: Vec<Problem>,
    /// The newest one of those that are not kept.
    beyond: Option<Problem>,
    lines: Vec<Line>,
    /// What came from the environment, and where it was put.
    hidden: HashMap<String, Vec<Span>>,
}

#[derive(Debug)]
struct Line {
    start: usize,
    /// Where its first character stands that is not blank.
    text: usize,
}

/// One problem; made by [`Problems::error`] or [`Problems::warning`].
#[derive(Debug)]
pub(crate) struct Problem {
    span: Span,
    severity: Severity,
    message: String,
    hint: Option<String>,
    /// The name of what is not there, when that is the problem.
    missing: Option<&'static str>,
}

impl Problem {
    /// Adds what to do about it.
    pub(crate) fn hint(&mut self, hint: impl Into<String>) -> &mut Self {
        self.hint = Some(in_one_line(&hint.into()));
        self
    }

    /// Marks it as being about something of this name that is not there.
    /// Several names, of which any one would do, stand side by side with `|` between them.
    pub(crate) fn missing(&mut self, name: &'static str) -> &mut Self {
        self.missing = Some(name);
        self
    }
}

impl Problems {
    /// No problems yet with this text.
    pub(crate) fn of(text: &str) -> Self {
        let starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1));
        let indented = |start: usize| {
            let line = text.get(start..).unwrap_or("");
            start + line.find(|c| !matches!(c, ' ' | '\t')).unwrap_or(line.len())
        };
        let lines = starts.map(|start| Line { start, text: indented(start) }).collect();
        Self { lines, ..Self::default() }
    }

    /// The line a place begins in, from 1.
    pub(crate) fn line_of(&self, span: Span) -> usize {
        self.lines.partition_point(|line| line.start <= span.start).max(1)
    }

    /// How far the line is indented that a place begins in, and whether the place is the first in it.
    pub(crate) fn indent_of(&self, span: Span) -> (usize, bool) {
        match self.lines.get(self.line_of(span) - 1) {
            Some(line) => (line.text - line.start, line.text == span.start),
            None => (0, false),
        }
    }

    /// Adds an error; the message is a lower-case fragment.
    pub(crate) fn error(&mut self, span: Span, message: impl Into<String>) -> &mut Problem {
        self.add(span, Severity::Error, message.into())
    }

    /// Adds a warning; the message is a lower-case fragment.
    pub(crate) fn warning(&mut self, span: Span, message: impl Into<String>) -> &mut Problem {
        self.add(span, Severity::Warning, message.into())
    }

    fn add(&mut self, span: Span, severity: Severity, message: String) -> &mut Problem {
        let problem = Problem { span, severity, message: in_one_line(&message), hint: None, missing: None };
        if self.list.len() >= KEPT {
            return self.beyond.insert(problem);
        }
        self.list.push(problem);
        self.list.last_mut().expect("a problem was just added")
    }

    /// Keeps a value of the environment, put into the setting at `span`, out of everything that is told.
    pub(crate) fn hide(&mut self, span: Span, value: String) {
        if !value.is_empty() {
            self.hidden.entry(value).or_default().push(span);
        }
    }

    /// How many errors there are, as far as they are kept.
    pub(crate) fn errors(&self) -> usize {
        self.list.iter().filter(|p| p.severity == Severity::Error).count()
            + usize::from(self.beyond.is_some())
    }

    /// How many problems there are, to come back to later.
    pub(crate) fn mark(&self) -> usize {
        self.list.len()
    }

    /// Takes back everything since `mark`: it came of something that was told already.
    pub(crate) fn forget(&mut self, mark: usize) {
        self.list.truncate(mark);
    }

    /// Takes back the problems since `mark` about missing things that are there after all, as far as `is_there` knows.
    pub(crate) fn forgive_missing(&mut self, mark: usize, is_there: impl Fn(&str) -> bool) {
        let mut at = 0;
        self.list.retain(|p| {
            at += 1;
            at <= mark || !p.missing.is_some_and(&is_there)
        });
    }

    /// The problems as diagnostics about `text`, in the order of their places, none twice.
    pub(crate) fn into_diagnostics(mut self, text: &str) -> Vec<Diagnostic> {
        self.list.sort_by_key(|p| (p.span.start, p.span.end));
        let mut found: Vec<Diagnostic> = Vec::with_capacity(self.list.len().min(TOLD));
        let mut rest = self.list.into_iter();
        for mut problem in rest.by_ref() {
            if self.hidden.iter().any(|(value, places)| problem.shows(value, places)) {
                problem.message = "the value from the environment cannot be used here".to_owned();
                problem.hint = None;
            }
            let diagnostic = problem.into_diagnostic(text);
            if !found.contains(&diagnostic) {
                found.push(diagnostic);
            }
            if found.len() == TOLD {
                break;
            }
        }
        if let Some(Problem { span, .. }) = rest.next().or(self.beyond) {
            let more = Diagnostic::error(text, span.start, span.end, "there are more problems from here on");
            found.push(more.with_hint("correct those above first"));
        }
        found
    }
}

impl Problem {
    /// Whether it gives a value of the environment away: a long one by any part of it, a short one where it was put.
    fn shows(&self, value: &str, places: &[Span]) -> bool {
        let told = |part: &str| {
            self.message.contains(part) || self.hint.as_ref().is_some_and(|hint| hint.contains(part))
        };
        let part_from = |start: usize| {
            let part = value.get(start..)?;
            let end = part.char_indices().nth(TELLING - 1).map(|(at, c)| at + c.len_utf8())?;
            part.get(..end)
        };
        match part_from(0) {
            Some(_) => value.char_indices().filter_map(|(start, _)| part_from(start)).any(told),
            None => {
                places.iter().any(|p| p.start <= self.span.end && self.span.start <= p.end) && told(value)
            }
        }
    }

    fn into_diagnostic(self, text: &str) -> Diagnostic {
        let Self { span, severity, message, hint, .. } = self;
        let diagnostic = match severity {
            Severity::Error => Diagnostic::error(text, span.start, span.end, message),
            Severity::Warning => Diagnostic::warning(text, span.start, span.end, message),
        };
        match hint {
            Some(hint) => diagnostic.with_hint(hint),
            None => diagnostic,
        }
    }
}

/// A text as it may stand in a message, whatever a user wrote into it.
fn in_one_line(text: &str) -> String {
    let mut chars = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    let mut line: String = chars.by_ref().take(LONGEST).collect();
    if chars.next().is_some() {
        line.push('…');
    }
    line
}
