//! Says what an executor is launched with, whole enough to launch the same again, and names it by a hash: its generation.
use super::resources::Thousandths;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// How much of the hash is shown.
const HASH_BYTES: usize = 6;

/// The short hash of a [`Spec`]: executors of one generation were launched with the same.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Generation(pub String);

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How an executor's program gets onto a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Program {
    /// It is there, at this path.
    OnNode(PathBuf),
    /// The agent fetches it from this address, whose last part holds the hash of its content.
    Fetched(String),
    /// It is the entrypoint of this image; its containers may read these directories of the node.
    InImage {
        /// The image.
        image: String,
        /// The directories.
        mounts: Vec<PathBuf>,
    },
}

impl Program {
    /// What tells it from others: whoever serves a fetched program, its name stands for its content.
    fn identity(&self) -> Self {
        match self {
            Self::Fetched(url) => Self::Fetched(url.rsplit('/').next().unwrap_or(url).to_owned()),
            other => other.clone(),
        }
    }

    /// Whether it can be launched by a scheduler whose settings name `own`: a scheduler serves no program but its own.
    pub fn can_be_had_beside(&self, own: &Self) -> bool {
        !matches!(self, Self::Fetched(_)) || self.identity() == own.identity()
    }
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OnNode(path) => write!(f, "{} on the nodes", path.display()),
            Self::Fetched(url) => write!(f, "{}", url.rsplit('/').next().unwrap_or(url)),
            Self::InImage { image, .. } => write!(f, "image {image}"),
        }
    }
}

/// A directory or socket of the node that a container sees, at the same path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// Where.
    pub path: PathBuf,
    /// Whether it may write there.
    pub writable: bool,
}

/// What an executor is launched with, but for what differs from launch to launch: ids, token, control address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spec {
    /// The program.
    pub program: Program,
    /// The version of the scheduler that launches it.
    pub version: String,
    /// What is charged to the executor.
    pub resources: Vec<(String, Thousandths)>,
    /// The program's arguments after its name, but for the control address.
    pub arguments: Vec<String>,
    /// What its container sees of the node, if it has one.
    pub mounts: Vec<Mount>,
    /// The user that it runs as.
    pub user: String,
    /// How long it may take to flush when it is told to end.
    pub grace: Duration,
    /// The fingerprint of the control plane's authority that it knows, where that talks TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authority: Option<String>,
}

impl Spec {
    /// Whether it can be launched by a scheduler whose settings make `own`: that has one program to serve and one authority.
    pub fn can_be_had_beside(&self, own: &Self) -> bool {
        self.program.can_be_had_beside(&own.program) && self.authority == own.authority
    }

    /// The directory of its node that its data are in, if that is not its sandbox.
    pub(super) fn data_dir(&self) -> Option<&str> {
        let mut arguments = self.arguments.iter().skip_while(|argument| *argument != "--data-dir");
        arguments.nth(1).map(String::as_str)
    }

    /// Its name. What it would be served by is no part of it.
    pub fn generation(&self) -> Generation {
        let plain = Self { program: self.program.identity(), ..self.clone() };
        // A spec is plain data with text keys, which can always be written as JSON.
        let text = serde_json::to_vec(&plain).unwrap_or_default();
        let hash = Sha256::digest(&text);
        Generation(hash.iter().take(HASH_BYTES).map(|byte| format!("{byte:02x}")).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(program: Program) -> Spec {
        Spec {
            program,
            version: "1.0.0".into(),
            resources: vec![("cpus".into(), Thousandths(200))],
            arguments: vec!["--spool-max".into(), "5".into()],
            mounts: vec![],
            user: "root".into(),
            grace: Duration::from_secs(30),
            authority: None,
        }
    }

    #[test]
    fn a_generation_changes_with_everything_that_is_launched_and_not_with_who_serves_it() {
        let one = spec(Program::Fetched("http://a:1/artifacts/logherd-0123".into()));
        let same = spec(Program::Fetched("http://b:2/artifacts/logherd-0123".into()));
        assert_eq!(one.generation(), same.generation());
        assert!(one.program.can_be_had_beside(&same.program));
        let others = [
            spec(Program::Fetched("http://a:1/artifacts/logherd-4567".into())),
            spec(Program::OnNode("/opt/logherd".into())),
            Spec { version: "1.0.1".into(), ..one.clone() },
            Spec { resources: vec![("cpus".into(), Thousandths(300))], ..one.clone() },
            Spec { arguments: vec![], ..one.clone() },
            Spec { mounts: vec![Mount { path: "/var/log".into(), writable: false }], ..one.clone() },
            Spec { user: "nobody".into(), ..one.clone() },
            Spec { grace: Duration::from_secs(31), ..one.clone() },
            Spec { authority: Some("0123".into()), ..one.clone() },
        ];
        for other in others {
            assert_ne!(other.generation(), one.generation(), "{other:?}");
        }
    }

    #[test]
    fn a_generation_without_an_authority_is_the_one_that_earlier_versions_named() {
        let text = serde_json::to_string(&spec(Program::OnNode("/opt/logherd".into()))).unwrap();
        assert!(!text.contains("authority"), "{text}");
        assert_eq!(serde_json::from_str::<Spec>(&text).unwrap().authority, None);
    }

    #[test]
    fn a_program_that_only_another_scheduler_serves_cannot_be_had() {
        let served = Program::Fetched("http://a:1/artifacts/logherd-0123".into());
        let other = Program::Fetched("http://a:1/artifacts/logherd-4567".into());
        let on_node = Program::OnNode("/opt/logherd".into());
        assert!(!served.can_be_had_beside(&other) && !served.can_be_had_beside(&on_node));
        assert!(on_node.can_be_had_beside(&served));
    }
}
