//! Holds what people ask for, typed, and the answers: the channel between the API and whoever keeps the fleet.
use config::diagnostic::Diagnostic;
use config::document::{Key, Revision};
use tokio::sync::oneshot;

/// What a person wants changed or checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Edit {
    /// Write a document.
    Put {
        /// Which one.
        key: Key,
        /// Its new text.
        text: String,
        /// What must be true of it now.
        expect: Expect,
    },
    /// Remove a document.
    Delete {
        /// Which one.
        key: Key,
        /// What must be true of it now.
        expect: Expect,
    },
    /// Only say what is wrong with a text.
    Check {
        /// The document that it would be.
        key: Key,
        /// The text.
        text: String,
    },
}

/// What must be true of a document before an edit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// Anything.
    Any,
    /// It does not exist (`POST`, `If-None-Match: *`).
    Absent,
    /// It exists (`If-Match: *`).
    Present,
    /// It was last changed by this revision (`If-Match: "7"`).
    At(Revision),
}

/// The answer to an edit that was carried out and persisted, or to a check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Done {
    /// The document is new.
    Created(Revision, Vec<Diagnostic>),
    /// It was changed.
    Changed(Revision, Vec<Diagnostic>),
    /// It had that text already; nothing changed.
    Unchanged(Revision, Vec<Diagnostic>),
    /// It is gone.
    Deleted(Revision),
    /// The text was checked; there are no errors, maybe warnings.
    Checked(Vec<Diagnostic>),
}

/// Why an edit was refused. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// There is no such document.
    #[error("there is no such config")]
    NotFound,
    /// A document of that name exists already (409).
    #[error("a config of that name exists already")]
    Exists,
    /// Someone else changed it meanwhile (412).
    #[error("the config was changed meanwhile; it is at revision {0}")]
    Conflict(Revision),
    /// The text has errors (422).
    #[error("the text has errors")]
    Invalid(Vec<Diagnostic>),
    /// The state could not be written (503). Try again.
    #[error("the edit could not be stored: {0}")]
    NotStored(String),
}

/// An edit and where its answer goes.
#[derive(Debug)]
pub struct EditRequest {
    /// What is asked.
    pub edit: Edit,
    /// Where the answer goes.
    pub reply: oneshot::Sender<Result<Done, Refused>>,
}
