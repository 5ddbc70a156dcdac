//! Holds what every request needs: the view, the way to whoever keeps the fleet, and the counts of requests.
use crate::artifact::Artifact;
use crate::edit::{Done, Edit, EditRequest, Refused};
use crate::metrics::RequestCounts;
use crate::order::{Order, OrderDone, OrderRefused, OrderRequest};
use crate::problem::Problem;
use crate::view::View;
use config::document::Revision;
use http::StatusCode;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

/// How long an edit may take. Longer than the state store's own patience, so that its answer is heard.
const EDIT_DEADLINE: Duration = Duration::from_secs(30);
/// How long an answer waits for the view to show what it says.
const SETTLE_DEADLINE: Duration = Duration::from_secs(1);
/// How many event streams may be open; more are answered with 503.
const STREAMS_MAX: usize = 256;

/// The ways to whoever keeps the fleet.
#[derive(Clone, Debug)]
pub struct Requests {
    /// Takes changes of documents.
    pub edits: mpsc::Sender<EditRequest>,
    /// Takes what is to be done with executors.
    pub orders: mpsc::Sender<OrderRequest>,
}

/// The state of the server. Cheap to clone.
#[derive(Clone)]
pub(crate) struct App {
    /// What is to be seen.
    pub(crate) view: watch::Receiver<Arc<View>>,
    /// Ends streams.
    pub(crate) stop: CancellationToken,
    /// How many requests were answered, and how.
    pub(crate) requests: Arc<RequestCounts>,
    /// Room for event streams.
    pub(crate) streams: Arc<Semaphore>,
    /// The program, if executors fetch it from here.
    pub(crate) artifact: Option<Arc<Artifact>>,
    /// When this process began to serve.
    pub(crate) started: SystemTime,
    keeper: Requests,
}

impl App {
    /// Makes the state.
    pub(crate) fn new(view: watch::Receiver<Arc<View>>, keeper: Requests, stop: CancellationToken) -> Self {
        let streams = Arc::new(Semaphore::new(STREAMS_MAX));
        let (requests, started) = (Arc::default(), SystemTime::now());
        Self { view, keeper, stop, streams, requests, artifact: None, started }
    }

    /// The same, and it serves the program.
    pub(crate) fn serving(self, artifact: Option<Artifact>) -> Self {
        Self { artifact: artifact.map(Arc::new), ..self }
    }

    /// The newest view.
    pub(crate) fn now(&self) -> Arc<View> {
        self.view.borrow().clone()
    }

    /// Whether whoever keeps the fleet is still there.
    pub(crate) fn keeper_is_gone(&self) -> bool {
        self.keeper.edits.is_closed()
    }

    /// Asks for an edit and waits for the answer. The outer error means that there is none.
    pub(crate) async fn ask(&self, edit: Edit) -> Result<Result<Done, Refused>, Problem> {
        let (reply, answer) = oneshot::channel();
        self.keeper.edits.try_send(EditRequest { edit, reply }).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => Problem::unavailable("too many edits at once; try again"),
            mpsc::error::TrySendError::Closed(_) => {
                Problem::unavailable("the scheduler is stopping; try again later")
            }
        })?;
        let done = match tokio::time::timeout(EDIT_DEADLINE, answer).await {
            Ok(Ok(done)) => done,
            Ok(Err(_)) => {
                return Err(Problem::unavailable(
                    "the scheduler stopped before it answered; read the config again",
                ));
            }
            Err(_) => {
                return Err(Problem::new(
                    StatusCode::GATEWAY_TIMEOUT,
                    "the scheduler did not answer in 30 s; the edit may or may not be stored: read the config again",
                ));
            }
        };
        if let Ok(Done::Created(r, _) | Done::Changed(r, _) | Done::Deleted(r)) = &done {
            self.shown(*r).await;
        }
        Ok(done)
    }

    /// Gives an order and waits for the answer. The outer error means that there is none.
    pub(crate) async fn order(&self, order: Order) -> Result<Result<OrderDone, OrderRefused>, Problem> {
        let (reply, answer) = oneshot::channel();
        self.keeper.orders.try_send(OrderRequest { order, reply }).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => Problem::unavailable("too many orders at once; try again"),
            mpsc::error::TrySendError::Closed(_) => {
                Problem::unavailable("the scheduler is stopping; try again later")
            }
        })?;
        match tokio::time::timeout(EDIT_DEADLINE, answer).await {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(_)) => Err(Problem::unavailable(
                "the scheduler stopped before it answered; look at how things are before ordering again",
            )),
            Err(_) => Err(Problem::new(
                StatusCode::GATEWAY_TIMEOUT,
                "the scheduler did not answer in 30 s; the order may or may not be carried out: look before ordering again",
            )),
        }
    }

    /// Waits until the view shows a revision, so that who wrote it reads it.
    async fn shown(&self, revision: Revision) {
        let mut view = self.view.clone();
        let shown = view.wait_for(|view| view.status.revision >= revision);
        if tokio::time::timeout(SETTLE_DEADLINE, shown).await.is_err() {
            tracing::debug!(%revision, "answered before the view showed the revision");
        }
    }
}
