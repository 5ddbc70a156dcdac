//! Collects problems while a text is read, and turns them into diagnostics at the end.
use config::diagnostic::{Diagnostic, Severity};

use super::ast::Span;

/// How many problems of one text are told; more help nobody.
const MOST: usize = 100;

/// How many characters a message may have.
const LONGEST: usize = 1000;

/// The problems found so far.
#[derive(Debug, Default)]
pub(crate) struct Problems {
    list: Vec<Problem>,
    /// Where each line but the first begins.
    lines: Vec<usize>,
}

/// One problem; made by [`Problems::error`] or [`Problems::warning`].
#[derive(Debug)]
pub(crate) struct Problem {
    span: Span,
    severity: Severity,
    message: String,
    hint: Option<String>,
    /// Something is not there, as opposed to wrong.
    missing: bool,
}

impl Problem {
    /// Adds what to do about it.
    pub(crate) fn hint(&mut self, hint: impl Into<String>) -> &mut Self {
        self.hint = Some(in_one_line(&hint.into()));
        self
    }

    /// Marks it as being about something that is not there.
    pub(crate) fn missing(&mut self) -> &mut Self {
        self.missing = true;
        self
    }
}

impl Problems {
    /// No problems yet with this text.
    pub(crate) fn of(text: &str) -> Self {
        Self { list: Vec::new(), lines: text.match_indices('\n').map(|(at, _)| at + 1).collect() }
    }

    /// The line a place begins in, from 1.
    pub(crate) fn line_of(&self, span: Span) -> usize {
        self.lines.partition_point(|start| *start <= span.start) + 1
    }

    /// How many problems there are, to come back to later.
    pub(crate) fn mark(&self) -> usize {
        self.list.len()
    }

    /// Takes back everything since `mark`: it came of something that was told already.
    pub(crate) fn forget(&mut self, mark: usize) {
        self.list.truncate(mark);
    }

    /// Takes back the problems about missing things since `mark`: they may stand where the text could not be read.
    pub(crate) fn forgive_missing(&mut self, mark: usize) {
        let mut at = 0;
        self.list.retain(|p| {
            at += 1;
            at <= mark || !p.missing
        });
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
        self.list.push(Problem {
            span,
            severity,
            message: in_one_line(&message),
            hint: None,
            missing: false,
        });
        self.list.last_mut().expect("a problem was just added")
    }

    /// How many errors there are.
    pub(crate) fn errors(&self) -> usize {
        self.list.iter().filter(|p| p.severity == Severity::Error).count()
    }

    /// The problems as diagnostics about `text`, in the order of their places, none twice.
    pub(crate) fn into_diagnostics(mut self, text: &str) -> Vec<Diagnostic> {
        self.list.sort_by_key(|p| (p.span.start, p.span.end));
        let mut found: Vec<Diagnostic> = Vec::with_capacity(self.list.len().min(MOST));
        for Problem { span, severity, message, hint, .. } in self.list {
            if found.len() == MOST {
                found.push(Diagnostic::error(
                    text,
                    span.start,
                    span.end,
                    "there are more problems from here on",
                ));
                break;
            }
            let mut diagnostic = match severity {
                Severity::Error => Diagnostic::error(text, span.start, span.end, message),
                Severity::Warning => Diagnostic::warning(text, span.start, span.end, message),
            };
            if let Some(hint) = hint {
                diagnostic = diagnostic.with_hint(hint);
            }
            if !found.contains(&diagnostic) {
                found.push(diagnostic);
            }
        }
        found
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
