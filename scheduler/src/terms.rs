//! Leads in terms: stands by until elected, runs the framework while it leads, and stands by again.
use crate::ensemble::Ensemble;
use crate::leader::standing::Lost;
use crate::leader::{Candidate, Elector, Leadership};
use crate::running::{People, Start, Waiting, refuse};
use crate::state::zookeeper::Zookeeper;
use crate::{Error, address, standby};
use config::settings::SchedulerSettings;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// The pause before standing again when the term could not begin.
const STAND_AGAIN: Duration = Duration::from_secs(1);
/// How many edits may wait for the term's editor; more are refused.
const EDITS_WAITING_MAX: usize = 64;

/// How many orders may wait for the term's core; more are refused.
const ORDERS_WAITING_MAX: usize = 16;
/// What is answered between two terms.
const CHANGING: &str = "the scheduler that leads is changing; try again in a few seconds";

/// Runs terms until `stop`, or until one ends in a way that another term would not mend.
pub(crate) async fn run(
    ensemble: Ensemble,
    settings: SchedulerSettings,
    first: Start,
    mut people: People,
    stop: CancellationToken,
) -> Result<(), Error> {
    let me = Candidate { api: address::api(&settings) };
    let timeout = settings.zk_session_timeout;
    let mut elector = Elector::new(ensemble.clone(), timeout, me);
    // What could be wrong with the settings was found out before; while standing by nothing listens for executors.
    let authority = first.into_authority();
    let ended = loop {
        let documents = Zookeeper::new(ensemble.clone(), timeout);
        let elected =
            standby::until_elected(&mut elector, documents, authority.clone(), &mut people, &stop).await;
        let Some(mut leadership) = elected else { break Ok(()) };
        let term = Term { ensemble: &ensemble, settings: &settings, stop: stop.child_token() };
        let epoch = leadership.fence().epoch;
        match term.serve(&mut leadership, &mut people).await {
            Ok(()) if stop.is_cancelled() => break Ok(()),
            Ok(()) => tracing::warn!(epoch, "standing by again"),
            Err(Error::Superseded) => {
                tracing::error!(epoch, "mesos gave the framework to another scheduler; stepping down");
                elector.resign().await;
                elector.superseded(epoch);
            }
            // Of the term before, maybe, which is still closing.
            Err(error @ (Error::Bind { .. } | Error::AuthorityNotStored(_))) => {
                tracing::error!(%error, epoch, "stepping down; standing again soon");
                elector.resign().await;
                sleep(STAND_AGAIN).await;
            }
            Err(error) => break Err(error),
        }
    };
    elector.resign().await;
    ended
}

/// One time in office.
struct Term<'a> {
    ensemble: &'a Ensemble,
    settings: &'a SchedulerSettings,
    /// Ends this term only.
    stop: CancellationToken,
}

impl Term<'_> {
    /// Runs the framework until the term ends; hands edits on to it.
    async fn serve(&self, leadership: &mut Leadership, people: &mut People) -> Result<(), Error> {
        let fence = leadership.fence();
        let (edits_out, edits) = mpsc::channel(EDITS_WAITING_MAX);
        let (orders_out, orders) = mpsc::channel(ORDERS_WAITING_MAX);
        let mut of_term = People { edits, orders, view: people.view.clone() };
        let running = async {
            let mut start = Start::prepare(self.settings).await?;
            start.epoch = fence.epoch;
            let waiting = Waiting { people: &mut of_term, stop: &self.stop };
            let open = || {
                let store = Zookeeper::new(self.ensemble.clone(), self.settings.zk_session_timeout);
                Ok(store.fenced(fence.clone()))
            };
            match waiting.until_loaded(open).await {
                Some((state, stored)) => start.run(state, stored, of_term, self.stop.clone()).await,
                None => Ok(()),
            }
        };
        let mut running = Box::pin(running);
        let mut leads = true;
        loop {
            tokio::select! {
                ended = &mut running => return ended,
                lost = leadership.lost(), if leads => {
                    leads = false;
                    self.step_down(lost, people);
                }
                Some(asked) = people.edits.recv() => {
                    if self.stop.is_cancelled() {
                        refuse(asked, CHANGING);
                    } else if let Err(error) = edits_out.try_send(asked) {
                        refuse(error.into_inner(), "too many edits at once; try again");
                    }
                }
                Some(ordered) = people.orders.recv() => {
                    if self.stop.is_cancelled() {
                        ordered.refuse(CHANGING);
                    } else if let Err(error) = orders_out.try_send(ordered) {
                        let why = match &error {
                            TrySendError::Full(_) => "too many orders at once; try again",
                            TrySendError::Closed(_) => "the framework is torn down, and this scheduler ends",
                        };
                        error.into_inner().refuse(why);
                    }
                }
            }
        }
    }

    fn step_down(&self, lost: Lost, people: &People) {
        tracing::warn!(%lost, "leadership is over; the subscription and all writes stop");
        self.stop.cancel();
        people.view.send_modify(|view| {
            let status = &mut Arc::make_mut(view).status;
            (status.phase, status.detail) = ("standby".to_owned(), format!("stepping down: {lost}"));
            (status.writable, status.leader) = (false, None);
        });
    }
}
