//! Tells an executor by a Mesos MESSAGE where the leading scheduler listens, with a proof that only a scheduler can give.
//!
//! ```json
//! {"v":1,"control":"10.0.0.1:9094","epoch":7,"proof":"5c6e…"}
//! ```
//! The proof is HMAC-SHA256 over all of it and the executor's id. Its key is the SHA-256 of the launch token, in
//! hexadecimal: schedulers store that and not the token, the executor has the token. An executor refuses what an earlier
//! leader said, so a recorded message cannot send it back.
use ring::{digest, hmac};
use serde::{Deserialize, Serialize};

const VERSION: u32 = 1;

/// Where the leading scheduler listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announced {
    /// `host:port` of its control plane.
    pub control: String,
    /// Which leadership it is; 0 where there are no elections.
    pub epoch: u64,
}

/// Why a message moves nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAnnounced {
    /// It is no such message.
    #[error("it is no announcement of a scheduler: {0}")]
    Garbled(String),
    /// It is of a kind that this version does not know.
    #[error("it has version {0}, which this executor does not know")]
    Version(u32),
    /// Whoever sent it does not know the launch.
    #[error("its proof is wrong: it is from no scheduler of this executor")]
    Proof,
}

#[derive(Serialize, Deserialize)]
struct Wire {
    v: u32,
    control: String,
    #[serde(default)]
    epoch: u64,
    #[serde(default)]
    proof: String,
}

/// The SHA-256 of a launch token, in hexadecimal.
fn token_hash(token: &str) -> String {
    hex(digest::digest(&digest::SHA256, token.as_bytes()).as_ref())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u32> = text.chars().map(|digit| digit.to_digit(16)).collect::<Option<_>>()?;
    let (pairs, rest) = digits.as_chunks::<2>();
    let bytes = pairs.iter().map(|[high, low]| u8::try_from(high * 16 + low).ok());
    if rest.is_empty() { bytes.collect() } else { None }
}

/// What is proven; the parts cannot run into each other.
fn proven(what: &Announced, executor: &str) -> String {
    format!("logherd control v{VERSION}\n{}\n{}\n{executor}", what.epoch, what.control)
}

/// Writes the message for one executor. `token_hash` is the SHA-256 of its launch token, in hexadecimal.
pub fn write(what: &Announced, token_hash: &str, executor: &str) -> Vec<u8> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, token_hash.as_bytes());
    let proof = hex(hmac::sign(&key, proven(what, executor).as_bytes()).as_ref());
    let wire = Wire { v: VERSION, control: what.control.clone(), epoch: what.epoch, proof };
    // Writing strings and numbers as JSON into memory cannot fail.
    serde_json::to_vec(&wire).unwrap_or_default()
}

/// Reads a message and checks its proof.
pub fn read(data: &[u8], token: &str, executor: &str) -> Result<Announced, NotAnnounced> {
    let wire: Wire = serde_json::from_slice(data).map_err(|e| NotAnnounced::Garbled(e.to_string()))?;
    if wire.v != VERSION {
        return Err(NotAnnounced::Version(wire.v));
    }
    let what = Announced { control: wire.control, epoch: wire.epoch };
    let key = hmac::Key::new(hmac::HMAC_SHA256, token_hash(token).as_bytes());
    let proof = unhex(&wire.proof).ok_or(NotAnnounced::Proof)?;
    hmac::verify(&key, proven(&what, executor).as_bytes(), &proof).map_err(|_| NotAnnounced::Proof)?;
    Ok(what)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn what() -> Announced {
        Announced { control: "10.0.0.1:9094".into(), epoch: 7 }
    }

    #[test]
    fn who_knows_the_launch_is_believed_and_nobody_else() {
        let data = write(&what(), &token_hash("token"), "executor-1");
        assert_eq!(read(&data, "token", "executor-1"), Ok(what()));
        assert_eq!(read(&data, "other", "executor-1"), Err(NotAnnounced::Proof));
        assert_eq!(read(&data, "token", "executor-2"), Err(NotAnnounced::Proof));
        let forged = String::from_utf8(data).unwrap().replace("10.0.0.1", "10.0.0.2");
        assert_eq!(read(forged.as_bytes(), "token", "executor-1"), Err(NotAnnounced::Proof));
        let bare = br#"{"v":1,"control":"10.0.0.2:9094"}"#;
        assert_eq!(read(bare, "token", "executor-1"), Err(NotAnnounced::Proof));
        assert_eq!(read(br#"{"v":2,"control":"x:1"}"#, "token", "e"), Err(NotAnnounced::Version(2)));
    }

    proptest! {
        #[test]
        fn any_bytes_are_refused(data in prop::collection::vec(any::<u8>(), 0..80)) {
            prop_assert!(read(&data, "token", "executor").is_err());
        }

        #[test]
        fn any_change_of_a_message_is_refused(at in any::<prop::sample::Index>(), flip in 1u8..255) {
            let mut data = write(&what(), &token_hash("token"), "executor");
            let at = at.index(data.len());
            data[at] ^= flip;
            // Only the case of a hexadecimal digit may change without a difference.
            if let Ok(read) = read(&data, "token", "executor") {
                prop_assert_eq!(read, what());
            }
        }
    }
}
