//! Collects problems while a text is read, and turns them into diagnostics at the end.
use config::diagnostic::{Diagnostic, Severity};

use super::ast::Span;

/// The problems found so far.
#[derive(Debug, Default)]
pub(crate) struct Problems {
    list: Vec<Problem>,
}

/// One problem; made by [`Problems::error`] or [`Problems::warning`].
#[derive(Debug)]
pub(crate) struct Problem {
    span: Span,
    severity: Severity,
    message: String,
    hint: Option<String>,
}

impl Problem {
    /// Adds what to do about it.
    pub(crate) fn hint(&mut self, hint: impl Into<String>) -> &mut Self {
        self.hint = Some(hint.into());
        self
    }
}

impl Problems {
    /// Adds an error; the message is a lower-case fragment.
    pub(crate) fn error(&mut self, span: Span, message: impl Into<String>) -> &mut Problem {
        self.add(span, Severity::Error, message.into())
    }

    /// Adds a warning; the message is a lower-case fragment.
    pub(crate) fn warning(&mut self, span: Span, message: impl Into<String>) -> &mut Problem {
        self.add(span, Severity::Warning, message.into())
    }

    fn add(&mut self, span: Span, severity: Severity, message: String) -> &mut Problem {
        // `Vec::push` then `last_mut` would need a proof that the list is not empty.
        let at = self.list.len();
        self.list.insert(at, Problem { span, severity, message, hint: None });
        self.list.last_mut().expect("a problem was just added")
    }

    /// How many errors there are.
    pub(crate) fn errors(&self) -> usize {
        self.list.iter().filter(|p| p.severity == Severity::Error).count()
    }

    /// The problems as diagnostics about `text`, in the order of their places, none twice.
    pub(crate) fn into_diagnostics(mut self, text: &str) -> Vec<Diagnostic> {
        self.list.sort_by_key(|p| (p.span.start, p.span.end));
        let mut found: Vec<Diagnostic> = Vec::with_capacity(self.list.len());
        for Problem { span, severity, message, hint } in self.list {
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
