//! Holds problems found in a text, with their place in it, and renders them for people.
use serde::{Deserialize, Serialize};

/// How bad a problem is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The text cannot be used.
    Error,
    /// The text can be used, but probably does not do what its writer wants.
    Warning,
}

/// One problem in one text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong, as a lower-case fragment without a full stop.
    pub message: String,
    /// What to do about it, e.g. "did you mean `start_position`?".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The line of the first character of the place, from 1.
    pub line: usize,
    /// The column of the first character of the place, in characters from 1.
    pub column: usize,
    /// Byte offset of the place in the text.
    pub start: usize,
    /// Byte offset just after the place; never less than `start`.
    pub end: usize,
}

impl Diagnostic {
    /// Makes an error about `start..end` of `text`. Offsets beyond the text are moved to its end.
    pub fn error(text: &str, start: usize, end: usize, message: impl Into<String>) -> Self {
        Self::at(text, start, end, Severity::Error, message.into())
    }

    /// Makes a warning about `start..end` of `text`.
    pub fn warning(text: &str, start: usize, end: usize, message: impl Into<String>) -> Self {
        Self::at(text, start, end, Severity::Warning, message.into())
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    fn at(text: &str, start: usize, end: usize, severity: Severity, message: String) -> Self {
        let start = floor_boundary(text, start);
        let end = floor_boundary(text, end).max(start);
        let before = text.get(..start).unwrap_or(text);
        let line = before.matches('\n').count() + 1;
        let last = before.rsplit('\n').next().unwrap_or("");
        Self { severity, message, hint: None, line, column: last.chars().count() + 1, start, end }
    }

    /// Renders the problem with the line it is in, underlined, as a compiler would; `origin` names the text.
    pub fn render(&self, origin: &str, text: &str) -> String {
        use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};
        let level = match self.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let start = self.start.min(text.len());
        let end = self.end.clamp(start, text.len());
        let mut group = level
            .primary_title(&self.message)
            .element(Snippet::source(text).path(origin).annotation(AnnotationKind::Primary.span(start..end)));
        if let Some(hint) = &self.hint {
            group = group.element(Level::HELP.message(hint.as_str()));
        }
        Renderer::plain().render(&[group]).to_string()
    }
}

fn floor_boundary(text: &str, mut at: usize) -> usize {
    at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// Whether any of `problems` is an error.
pub fn has_errors(problems: &[Diagnostic]) -> bool {
    problems.iter().any(|p| p.severity == Severity::Error)
}
