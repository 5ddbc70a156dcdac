//! Holds what this node tells the scheduler about itself.
use crate::assign::Failure;
use crate::tail::TailStatus;
use config::document::Revision;

/// The state of the node at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Report {
    /// The revision that runs.
    pub(crate) revision: Revision,
    /// Whether the Docker daemon can be reached.
    pub(crate) docker_reachable: bool,
    /// Its version, or why not.
    pub(crate) docker_detail: String,
    /// The containers that run or are being drained.
    pub(crate) containers: Vec<ContainerReport>,
    /// The pipelines.
    pub(crate) pipelines: Vec<PipelineReport>,
    /// All pipelines together, those that are gone too.
    pub(crate) counters: Counters,
    /// Resident memory of this process.
    pub(crate) resident_bytes: u64,
}

/// What happens with a container's files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ContainerState {
    /// They are read.
    Streaming,
    /// No docker config applies.
    NotMatched,
    /// One applies, but something is wrong.
    Error,
    /// It ended; what was read is being shipped.
    Draining,
}

/// A container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ContainerReport {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) image: String,
    pub(crate) state: ContainerState,
    pub(crate) reason: String,
    /// The docker config that applies; empty: none.
    pub(crate) config: String,
    pub(crate) tails: Vec<TailStatus>,
}

/// A pipeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PipelineReport {
    pub(crate) id: String,
    pub(crate) state: String,
    pub(crate) reason: String,
    pub(crate) counters: Counters,
}

/// Totals since this executor started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counters {
    pub(crate) events_in: u64,
    pub(crate) events_out: u64,
    pub(crate) bytes_in: u64,
    pub(crate) dropped_lines: u64,
    pub(crate) dead_letters: u64,
    pub(crate) retries: u64,
}

impl std::ops::AddAssign for Counters {
    fn add_assign(&mut self, other: Self) {
        self.events_in += other.events_in;
        self.events_out += other.events_out;
        self.bytes_in += other.bytes_in;
        self.dropped_lines += other.dropped_lines;
        self.dead_letters += other.dead_letters;
        self.retries += other.retries;
    }
}

impl From<pipeline::Counters> for Counters {
    fn from(c: pipeline::Counters) -> Self {
        Self {
            events_in: c.events_in,
            events_out: c.events_out,
            bytes_in: c.bytes_in,
            dropped_lines: c.dropped_lines,
            dead_letters: c.dead_letters,
            retries: c.retries,
        }
    }
}

/// What became of a revision.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Applied {
    pub(crate) revision: Revision,
    pub(crate) failures: Vec<Failure>,
}

/// The resident memory of this process; 0 where it cannot be told.
pub(crate) fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: u64 = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok()).unwrap_or_default();
    pages * rustix::param::page_size() as u64
}

#[cfg(test)]
mod tests {
    #[test]
    fn this_process_occupies_some_memory() {
        assert!(super::resident_bytes() > 100_000);
    }
}
