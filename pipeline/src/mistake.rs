//! Says what is wrong with a part of a text that a setting holds: a pattern, a regular expression, a date format.
use crate::lang::kinds::Placed;
use crate::lang::problems::Problems;

/// What is wrong, and where in the text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Mistake {
    /// Byte offset of the place in the text.
    pub(crate) start: usize,
    /// Byte offset just after the place.
    pub(crate) end: usize,
    /// What is wrong, as a lower-case fragment.
    pub(crate) message: String,
    /// What to do about it.
    pub(crate) hint: Option<String>,
}

impl Mistake {
    pub(crate) fn new(start: usize, end: usize, message: impl Into<String>) -> Self {
        Self { start, end, message: message.into(), hint: None }
    }

    /// Adds what to do about it.
    pub(crate) fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Reports it as an error at its place in the setting `of`.
    pub(crate) fn report(self, of: &Placed<String>, problems: &mut Problems) {
        let problem = problems.error(of.part(self.start, self.end), self.message);
        if let Some(hint) = self.hint {
            problem.hint(hint);
        }
    }

    /// Reports it as a warning at its place in the setting `of`.
    pub(crate) fn warn(self, of: &Placed<String>, problems: &mut Problems) {
        let problem = problems.warning(of.part(self.start, self.end), self.message);
        if let Some(hint) = self.hint {
            problem.hint(hint);
        }
    }
}
