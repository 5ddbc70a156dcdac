//! Tells sources, in order, how far everything of them has been acknowledged by every output.
use super::budget::Permit;
use super::source::Arrival;
use super::tally::{Tally, count};
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};

/// How many batches are on their way between the filters and the last acknowledgement. Full: the filters wait.
pub(crate) const ON_THEIR_WAY_MAX: usize = 48;

/// What has to arrive before a position counts.
pub(crate) struct Ticket {
    /// One for each output that has got events of the batch.
    pub(crate) waits: Vec<oneshot::Receiver<()>>,
    /// What to tell then.
    pub(crate) arrivals: Vec<Arrival>,
    pub(crate) events: usize,
    /// Given back with the acknowledgement.
    pub(crate) permit: Option<Permit>,
}

/// Works through the tickets in order; ends early when an output gave up.
pub(crate) async fn acknowledge(mut tickets: mpsc::Receiver<Ticket>, tally: Arc<Tally>) {
    while let Some(ticket) = tickets.recv().await {
        for wait in ticket.waits {
            if wait.await.is_err() {
                return;
            }
        }
        count(&tally.events_out, ticket.events);
        ticket.arrivals.iter().for_each(Arrival::tell);
        drop(ticket.permit);
    }
}
