//! Holds what people want done with the executors themselves, typed, and the answers: the channel between the API and whoever
//! keeps the fleet.
use tokio::sync::oneshot;

/// What a person wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// Launch now what waits for its next launch.
    Resume,
}

/// What became of an order that was carried out and, where it has to outlive the scheduler, persisted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OrderDone {
    /// It is as these words say.
    Done(String),
}

/// Why an order was refused. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OrderRefused {
    /// It makes no sense as things are, and why (409).
    #[error("{0}")]
    NotNow(String),
    /// It could not be persisted, or there is nobody who could carry it out (503). Try again.
    #[error("the order could not be stored, and nothing was changed: {0}")]
    NotStored(String),
}

/// An order and where its answer goes.
#[derive(Debug)]
pub struct OrderRequest {
    /// What is asked.
    pub order: Order,
    /// Where the answer goes.
    pub reply: oneshot::Sender<Result<OrderDone, OrderRefused>>,
}

impl OrderRequest {
    /// Answers that it cannot be carried out now.
    pub fn refuse(self, why: &str) {
        if self.reply.send(Err(OrderRefused::NotStored(why.to_owned()))).is_err() {
            tracing::debug!("nobody waits for the answer to an order any more");
        }
    }
}
