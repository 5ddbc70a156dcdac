//! Tells sources, in order, how far everything of them has been acknowledged by every output.
use super::budget::Permit;
use super::source::Arrival;
use super::spares::Spares;
use super::tally::{Tally, count};
use crate::event::Event;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout_at};

/// How many batches are on their way between the filters and the last acknowledgement. Full: the filters wait.
pub(crate) const ON_THEIR_WAY_MAX: usize = 48;
/// How often it is looked for memory that is not needed any more.
const SHRINK_EVERY: Duration = Duration::from_secs(1);

/// What has to arrive before a position counts.
pub(crate) struct Ticket {
    /// One for each output that has got events of the batch.
    pub(crate) waits: Vec<oneshot::Receiver<()>>,
    /// What to tell then.
    pub(crate) arrivals: Vec<Arrival>,
    pub(crate) events: Arc<Vec<Event>>,
    /// Who made them.
    pub(crate) worker: usize,
    /// Given back with the acknowledgement.
    pub(crate) permit: Option<Permit>,
}

/// Works through the tickets in order; ends early when an output gave up. The events of those that arrived are to be used again.
pub(crate) async fn acknowledge(mut tickets: mpsc::Receiver<Ticket>, tally: Arc<Tally>, spares: Arc<Spares>) {
    let mut shrunk = Instant::now();
    while let Some(ticket) = next(&mut tickets, &spares, &mut shrunk).await {
        for wait in ticket.waits {
            if wait.await.is_err() {
                return;
            }
        }
        count(&tally.events_out, ticket.events.len());
        ticket.arrivals.iter().for_each(Arrival::tell);
        spares.add(ticket.worker, ticket.events);
        drop(ticket.permit);
    }
}

/// The next ticket; meanwhile, what is kept to be used again becomes less.
async fn next(tickets: &mut mpsc::Receiver<Ticket>, spares: &Spares, shrunk: &mut Instant) -> Option<Ticket> {
    loop {
        if spares.is_empty() {
            return tickets.recv().await;
        }
        if shrunk.elapsed() >= SHRINK_EVERY {
            spares.shrink();
            *shrunk = Instant::now();
        }
        if let Ok(ticket) = timeout_at(*shrunk + SHRINK_EVERY, tickets.recv()).await {
            return ticket;
        }
    }
}
