//! Keeps the registry: which agents exist, are unreachable or gone, and which machines are to be away. All that a master remembers over its restarts.
//!
//! Invariants: the file is replaced as a whole (written beside, synced, renamed); a damaged one is an error, never an
//! empty registry. Format: `LHRG`, a version byte (1), the CRC-32 of the rest (little endian), a protobuf message.

use crate::clock::Moment;
use crate::error::Error;
use crate::files;
use crate::ids::AgentId;
use prost::Message;
use proto::mesos::v1::{self as mesos, maintenance};
use std::path::{Path, PathBuf};
use std::time::Duration;

const MAGIC: &[u8; 5] = b"LHRG\x01";

/// What is remembered.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Registry {
    pub(crate) admitted: Vec<mesos::AgentInfo>,
    pub(crate) unreachable: Vec<(AgentId, Moment)>,
    pub(crate) gone: Vec<AgentId>,
    /// When machines are to be away.
    pub(crate) schedule: maintenance::Schedule,
    /// Machines that are away.
    pub(crate) down: Vec<mesos::MachineId>,
}

#[derive(Clone, PartialEq, Message)]
struct Stored {
    #[prost(message, repeated, tag = "1")]
    admitted: Vec<mesos::AgentInfo>,
    #[prost(message, repeated, tag = "2")]
    unreachable: Vec<StoredAway>,
    #[prost(string, repeated, tag = "3")]
    gone: Vec<String>,
    #[prost(message, repeated, tag = "4")]
    windows: Vec<maintenance::Window>,
    #[prost(message, repeated, tag = "5")]
    down: Vec<mesos::MachineId>,
}

#[derive(Clone, PartialEq, Message)]
struct StoredAway {
    #[prost(string, tag = "1")]
    agent: String,
    #[prost(uint64, tag = "2")]
    since_nanos: u64,
}

/// Where a master's registry lies.
pub(crate) fn path(master_dir: &Path) -> PathBuf {
    master_dir.join("registry")
}

/// Reads the registry; none is an empty one.
pub(crate) fn load(path: &Path) -> Result<Registry, Error> {
    let Some(payload) = files::read_checked(path, MAGIC)? else { return Ok(Registry::default()) };
    let stored = Stored::decode(payload.as_slice())
        .map_err(|problem| Error::Damaged { path: path.to_owned(), problem: problem.to_string() })?;
    Ok(Registry {
        admitted: stored.admitted,
        unreachable: stored
            .unreachable
            .into_iter()
            .map(|away| (AgentId(away.agent), Duration::from_nanos(away.since_nanos)))
            .collect(),
        gone: stored.gone.into_iter().map(AgentId).collect(),
        schedule: maintenance::Schedule { windows: stored.windows },
        down: stored.down,
    })
}

/// Replaces the registry.
pub(crate) fn save(path: &Path, registry: &Registry) -> Result<(), Error> {
    let stored = Stored {
        admitted: registry.admitted.clone(),
        unreachable: registry
            .unreachable
            .iter()
            .map(|(agent, since)| StoredAway {
                agent: agent.0.clone(),
                since_nanos: u64::try_from(since.as_nanos()).unwrap_or(u64::MAX),
            })
            .collect(),
        gone: registry.gone.iter().map(|agent| agent.0.clone()).collect(),
        windows: registry.schedule.windows.clone(),
        down: registry.down.clone(),
    };
    files::write_checked(path, MAGIC, &stored.encode_to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_saved_is_loaded_and_damage_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let path = path(dir.path());
        assert_eq!(load(&path).unwrap(), Registry::default());
        let registry = Registry {
            admitted: vec![mesos::AgentInfo { hostname: "node-1".into(), ..Default::default() }],
            unreachable: vec![(AgentId("S1".into()), Duration::from_secs(7))],
            gone: vec![AgentId("S2".into())],
            schedule: maintenance::Schedule { windows: vec![maintenance::Window::default()] },
            down: vec![mesos::MachineId { hostname: Some("node-3".into()), ip: None }],
        };
        save(&path, &registry).unwrap();
        assert_eq!(load(&path).unwrap(), registry);
        let mut bytes = std::fs::read(&path).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        std::fs::write(&path, bytes).unwrap();
        assert!(matches!(load(&path), Err(Error::Damaged { .. })));
    }
}
