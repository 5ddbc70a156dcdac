//! Names everything that can be made to go wrong in a running cluster, besides ending, stalling and cutting its parts.

use crate::wire::server::Mode;
use std::time::Duration;

/// One thing that goes wrong at a master or at an agent for as long as it is among the faults of that one. A fault of the
/// other kind of server does nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Master and agent: the HTTP side behaves so.
    Http(Mode),
    /// Master: no heartbeats on any stream, with the streams left open.
    HeldHeartbeats,
    /// Master: messages between schedulers and executors get lost, both ways.
    LostMessages,
    /// Master: FAILURE events get lost.
    LostFailures,
    /// Master: updates that it makes itself (those without a uuid) get lost.
    LostStatuses,
    /// Master: before each event for a scheduler comes one of a type that nobody knows.
    UnknownEvents,
    /// Master: before each update comes one with a state, a reason and a source that nobody knows.
    UnknownNumbers,
    /// Master: the operations of an ACCEPT are applied so much later than its offers are used up; agents may leave in
    /// between.
    LateAccepts(Duration),
    /// Master: nobody may reserve or unreserve: operations are dropped without a word, operators get 403.
    DeniedReservations,
    /// Agent: it registers so much later with a master that is not its first one.
    LateReturn(Duration),
    /// Agent: nothing can be fetched for a new executor.
    FailedFetches,
    /// Agent: fetching for a new executor takes so much longer.
    SlowFetches(Duration),
}

/// How the HTTP side behaves with these faults.
pub(crate) fn mode(faults: &[Fault]) -> Mode {
    let wanted = faults.iter().find_map(|fault| match fault {
        Fault::Http(mode) => Some(mode.clone()),
        _ => None,
    });
    wanted.unwrap_or(Mode::Up)
}
