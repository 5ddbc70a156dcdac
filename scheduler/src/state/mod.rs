//! Keeps what the scheduler needs after a crash: who it is, what it launched, and the fleet's documents.
//!
//! Invariants of every store:
//! - what was written and answered with `Ok` is read back after a crash; what was answered with `Err` did not happen, or
//!   [`StateError::Unknown`] says that nobody knows;
//! - the fleet's revision never goes back, and a document is changed only on top of the revision the writer saw;
//! - what cannot be read is an error with the place and what to do, never "nothing there";
//! - one scheduler writes: a directory is locked, ZooKeeper compares versions.
//!
//! Both stores pass the suite in `scheduler/tests/state/`.
pub mod directory;
pub mod record;
pub mod zookeeper;

use crate::core::effects::{Change, LaunchRecord, LeftData};
use crate::core::rollout::RolloutRecord;
use crate::ids::{FrameworkId, Moment};
use config::document::{Document, Fleet, Key, Revision};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::future::Future;

/// Where a document came from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// A person, by the page or the API; maybe over what a file had said, which is so not taken for news again.
    Api(Option<SeenFile>),
    /// A file in the config directory.
    File(SeenFile),
}

impl Origin {
    /// The file that it is or was.
    pub fn file(&self) -> Option<&SeenFile> {
        match self {
            Self::Api(over) => over.as_ref(),
            Self::File(seen) => Some(seen),
        }
    }
}

/// A file of the config directory as it was taken in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeenFile {
    /// Its path relative to the config directory.
    pub path: String,
    /// SHA-256 of its text, in hexadecimal.
    pub hash: String,
}

/// Everything that is stored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stored {
    /// Who we are.
    pub framework: Option<FrameworkId>,
    /// The fingerprint of the control plane's authority, if executors know one.
    pub authority: Option<String>,
    /// When its teardown was ordered; it is over when there is no framework any more.
    pub torn_down: Option<Moment>,
    /// What was launched and has not ended, in no particular order.
    pub launches: Vec<LaunchRecord>,
    /// What executors left on agents, in no particular order.
    pub left: Vec<LeftData>,
    /// The documents.
    pub documents: StoredFleet,
    /// Generations and the newest rollout.
    pub rollout: RolloutRecord,
}

impl Stored {
    /// Puts together what was found at `place`, if it can be whole.
    pub(crate) fn checked(
        place: &str,
        framework: Option<record::FrameworkRecord>,
        launches: Vec<LaunchRecord>,
        documents: StoredFleet,
    ) -> Result<Self, StateError> {
        if framework.is_none() && !launches.is_empty() {
            let why =
                "there are launches but no framework id, so a part is missing; restore it from a backup";
            return Err(StateError::Unreadable { place: place.to_owned(), why: why.to_owned() });
        }
        let torn_down = framework.as_ref().and_then(|record| record.torn_down);
        let framework = framework.and_then(|record| record.id);
        let rollout = RolloutRecord::default();
        let left = Vec::new();
        Ok(Self { framework, torn_down, authority: None, launches, left, documents, rollout })
    }
}

/// The documents with their origins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoredFleet {
    /// The documents and their revision.
    pub fleet: Fleet,
    /// Where each came from.
    pub origins: BTreeMap<Key, Origin>,
}

/// A change of one document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DocumentChange {
    /// Which document.
    pub key: Key,
    /// What it becomes, at the revision `on_top_of` + 1; `None`: it is deleted.
    pub to: Option<(String, Origin)>,
    /// The fleet's revision that the writer saw.
    pub on_top_of: Revision,
}

impl DocumentChange {
    /// The revision that the change makes.
    pub fn revision(&self) -> Revision {
        Revision(self.on_top_of.0 + 1)
    }

    /// The document that it writes, if it writes one.
    pub fn document(&self) -> Option<Document> {
        self.to.as_ref().map(|(text, _)| Document { text: text.clone(), revision: self.revision() })
    }
}

/// Why something could not be read or written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// What is there is not what was written, or is not ours to understand. A person has to look.
    #[error("the state at `{place}` cannot be read: {why}")]
    Unreadable {
        /// The file or znode.
        place: String,
        /// What is wrong and what to do.
        why: String,
    },
    /// The store does not answer or refuses to write; nothing was changed.
    #[error("the state store `{place}` does not work: {why}")]
    Unavailable {
        /// The file, or the servers.
        place: String,
        /// What went wrong.
        why: String,
    },
    /// The store was lost while it wrote: the change may have happened or not.
    #[error("the state store `{place}` was lost while it wrote: {why}")]
    Unknown {
        /// The file, or the servers.
        place: String,
        /// What went wrong.
        why: String,
    },
    /// Another scheduler uses the store.
    #[error("the state at `{place}` is used by another scheduler")]
    Locked {
        /// The lock.
        place: String,
    },
    /// This scheduler does not lead any more; nothing was changed.
    #[error("the state at `{place}` belongs to another scheduler now, which leads")]
    Deposed {
        /// The servers.
        place: String,
    },
    /// Someone else changed it meanwhile; nothing was changed.
    #[error("the state at `{place}` was changed by someone else; it is at revision {found}, not {expected}")]
    Conflict {
        /// The file or znode.
        place: String,
        /// What was seen before.
        expected: Revision,
        /// What is there now.
        found: Revision,
    },
}

/// A place where state is kept. Each store has one writer, which awaits a write before it begins the next one.
pub trait State: Send + Sync + 'static {
    /// Reads everything.
    fn load(&self) -> impl Future<Output = Result<Stored, StateError>> + Send;

    /// Reads the documents again, after a conflict or a write of unknown outcome.
    fn load_fleet(&self) -> impl Future<Output = Result<StoredFleet, StateError>> + Send;

    /// Writes all of `changes`, which can be repeated: the same again changes nothing.
    fn save(&self, changes: &[Change]) -> impl Future<Output = Result<(), StateError>> + Send;

    /// Changes one document and the fleet's revision, both or neither, if the fleet is still at the revision that the
    /// writer saw.
    fn change(&self, change: &DocumentChange) -> impl Future<Output = Result<(), StateError>> + Send;

    /// What it is, for people.
    fn describe(&self) -> String;
}
