//! Writes and reads one stored record: a line that names format, kind and checksum, then JSON, then maybe raw text.
//!
//! ```text
//! logherd-state 1 document 5d41402a\n     version, kind, CRC-32 of all that follows the line
//! {"key":…,"revision":7,"origin":"api"}\n  the head, one line
//! input { … }                            for documents only: the text as it was written
//! ```
//! Both stores use it, so that a half-written, mixed-up or newer record is found out before it is believed.
use super::{Origin, StateError};
use crate::ids::{FrameworkId, Moment};
use config::document::{Key, Kind, Revision};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// The version of everything in this file.
pub const FORMAT: u32 = 1;
const NAME: &str = "logherd-state";

/// A record without raw text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FrameworkRecord {
    /// Who we are.
    pub id: Option<FrameworkId>,
    /// When its teardown was ordered; it is over when there is no id any more.
    #[serde(default)]
    pub torn_down: Option<Moment>,
}

/// The authority of the control plane.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuthorityRecord {
    /// SHA-256 of its certificate, in hexadecimal.
    pub fingerprint: String,
}

/// The fleet's revision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FleetRecord {
    /// The newest revision.
    pub revision: Revision,
    /// Tells apart two writers that made the same revision.
    pub nonce: String,
    /// The leadership in which it was written; 0 where there are no elections.
    #[serde(default)]
    pub epoch: u64,
}

/// What stands before the text of a document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DocumentHead {
    /// Which document.
    pub key: Key,
    /// The revision that wrote it.
    pub revision: Revision,
    /// Where it came from.
    pub origin: Origin,
    /// The leadership in which it was written; 0 where there are no elections.
    #[serde(default)]
    pub epoch: u64,
}

/// Encodes a record of a kind (`document`, `framework`, …).
pub fn encode(kind: &str, head: &impl Serialize, text: &str) -> Result<Vec<u8>, StateError> {
    let head =
        serde_json::to_string(head).map_err(|e| unreadable(kind, &format!("cannot be encoded: {e}")))?;
    let body = format!("{head}\n{text}");
    let crc = crc32fast::hash(body.as_bytes());
    Ok(format!("{NAME} {FORMAT} {kind} {crc:08x}\n{body}").into_bytes())
}

/// Decodes a record of a kind that was found at `place`.
pub fn decode<T: DeserializeOwned>(kind: &str, place: &str, bytes: &[u8]) -> Result<(T, String), StateError> {
    let text = std::str::from_utf8(bytes)
        .map_err(|_| unreadable(place, "it is not text; restore it from a backup"))?;
    let (line, body) =
        text.split_once('\n').ok_or_else(|| unreadable(place, "it is cut off; restore it from a backup"))?;
    let mut words = line.split(' ');
    if words.next() != Some(NAME) {
        return Err(unreadable(place, "it was not written by Logherd; move it away or choose another place"));
    }
    let version = words.next().and_then(|v| v.parse::<u32>().ok());
    if version != Some(FORMAT) {
        let found = version.map_or("an unknown".to_owned(), |v| v.to_string());
        let why = format!(
            "it has format {found}, this program knows {FORMAT}; use the version that wrote it, or newer"
        );
        return Err(unreadable(place, &why));
    }
    let found = words.next().unwrap_or("");
    if found != kind {
        return Err(unreadable(place, &format!("it holds a record `{found}` where a `{kind}` belongs")));
    }
    let crc = words.next().and_then(|hex| u32::from_str_radix(hex, 16).ok());
    if crc != Some(crc32fast::hash(body.as_bytes())) {
        return Err(unreadable(place, "its checksum is wrong; restore it from a backup"));
    }
    let (head, text) = body.split_once('\n').ok_or_else(|| unreadable(place, "it has no head"))?;
    let head =
        serde_json::from_str(head).map_err(|e| unreadable(place, &format!("its head is wrong: {e}")))?;
    Ok((head, text.to_owned()))
}

fn unreadable(place: &str, why: &str) -> StateError {
    StateError::Unreadable { place: place.to_owned(), why: why.to_owned() }
}

/// The longest name of a file or znode that is made of a document's name.
const NAME_MAX: usize = 200;

/// The name of a document's file or znode: kind, then the name with everything unusual percent-encoded; what would be too
/// long for a file ends in a hash. The record inside says which document it is.
pub fn document_name(key: &Key) -> String {
    let kind = match key.kind {
        Kind::Docker => "docker",
        Kind::Host => "host",
    };
    let mut name = format!("{kind}-");
    for byte in key.name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => name.push(char::from(byte)),
            other => name.push_str(&format!("%{other:02X}")),
        }
    }
    if name.len() > NAME_MAX {
        let hash = Sha256::digest(key.name.as_bytes());
        name = name.chars().take(NAME_MAX - 40).collect();
        name.push('~');
        name.extend(hash.iter().take(16).map(|byte| format!("{byte:02x}")));
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn head() -> DocumentHead {
        let key = Key { kind: Kind::Docker, name: "web/nginx:1.27".into() };
        DocumentHead { key, revision: Revision(7), origin: Origin::Api(None), epoch: 3 }
    }

    #[test]
    fn a_record_comes_back_as_it_was_written() {
        let bytes = encode("document", &head(), "input { }\n\n# done").unwrap();
        let (back, text) = decode::<DocumentHead>("document", "x", &bytes).unwrap();
        assert_eq!((back, text.as_str()), (head(), "input { }\n\n# done"));
    }

    #[test]
    fn a_record_of_a_newer_version_says_what_to_do() {
        let error =
            decode::<DocumentHead>("document", "configs/x", b"logherd-state 2 document 0\n{}\n").unwrap_err();
        assert_eq!(
            error.to_string(),
            "the state at `configs/x` cannot be read: it has format 2, this program knows 1; use the version that wrote it, or newer"
        );
    }

    #[test]
    fn names_of_documents_stay_apart_and_fit_into_a_file_name() {
        let name = |text: &str| document_name(&Key { kind: Kind::Docker, name: text.into() });
        assert_eq!(name("web/nginx:1.27"), "docker-web%2Fnginx%3A1.27");
        assert_ne!(name("a%2Fb"), name("a/b"));
        let (long, longer) = ("/".repeat(254), "/".repeat(255));
        assert!(name(&long).len() <= NAME_MAX && name(&long) != name(&longer));
    }

    proptest! {
        #[test]
        fn a_record_with_any_byte_changed_or_missing_is_never_believed(text in ".{0,60}", at in any::<prop::sample::Index>(), flip in 1u8..255) {
            let whole = encode("document", &head(), &text).unwrap();
            let mut changed = whole.clone();
            let at = at.index(whole.len());
            changed[at] ^= flip;
            // Only the case of a hexadecimal digit of the checksum may change without a difference.
            if let Ok(back) = decode::<DocumentHead>("document", "x", &changed) {
                prop_assert_eq!(back, (head(), text));
            }
            prop_assert!(decode::<DocumentHead>("document", "x", &whole[..at]).is_err());
        }
    }
}
