//! Holds the documents of the fleet and its revisions.
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// What a document is about. The two kinds have separate name spaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// An image config: its name is an image pattern, and it runs once per matching container.
    Docker,
    /// A host config: it runs once per node; its filters and outputs also take the events of all containers.
    Host,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Docker => "docker",
            Kind::Host => "host",
        })
    }
}

/// The name of a document: kind and name together.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Key {
    /// What it is about.
    pub kind: Kind,
    /// An image pattern for [`Kind::Docker`], any name for [`Kind::Host`].
    pub name: String,
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} config `{}`", self.kind, self.name)
    }
}

/// The longest name of a document, in bytes.
pub const NAME_MAX: usize = 255;
/// The longest text of a document, in bytes (1 MiB less room for an envelope: a znode holds 1 MiB).
pub const TEXT_MAX: usize = 1_000_000;

/// Why a name was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing, or blanks only.
    #[error("the name is empty")]
    Empty,
    /// More than [`NAME_MAX`] bytes.
    #[error("the name has {0} bytes; at most {NAME_MAX} are allowed")]
    TooLong(usize),
    /// A character that can be part of neither an image pattern nor a host config's name.
    #[error("the name holds {0:?}, which is not allowed")]
    BadCharacter(char),
    /// Not an image pattern.
    #[error("the name is not an image pattern: {0}")]
    NotAPattern(String),
}

impl Key {
    /// Makes a key from what a person wrote. Refuses empty, overlong names and names with blanks or control
    /// characters; a docker name must be an image pattern ([`crate::image::ImagePattern`]).
    pub fn new(kind: Kind, name: impl Into<String>) -> Result<Self, NameError> {
        let name = name.into();
        if name.trim().is_empty() {
            return Err(NameError::Empty);
        }
        if name.len() > NAME_MAX {
            return Err(NameError::TooLong(name.len()));
        }
        if let Some(bad) =
            name.chars().find(|c| c.is_control() || c.is_whitespace() || "\"'\\`<>{}".contains(*c))
        {
            return Err(NameError::BadCharacter(bad));
        }
        if kind == Kind::Docker {
            crate::image::ImagePattern::parse(&name).map_err(|e| NameError::NotAPattern(e.to_string()))?;
        }
        Ok(Self { kind, name })
    }
}

/// A counter that grows by one with every accepted edit of the fleet, and never goes back. 0: no edit yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Revision(pub u64);

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A text and the revision that last changed it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Document {
    /// The pipeline configuration, as written.
    pub text: String,
    /// The fleet's revision at the last change of this document; its ETag.
    pub revision: Revision,
}

/// All documents at one revision.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fleet {
    /// The newest revision of any document, deletions included.
    pub revision: Revision,
    /// The documents by name.
    pub documents: BTreeMap<Key, Document>,
}
