//! Shows what a scheduler that does not lead can know: who leads, and the documents that are stored.
use crate::control::authority::{Authority, fits};
use crate::leader::{Chance, Elector, Leadership, Standing};
use crate::revisions::check;
use crate::running::{People, refuse};
use crate::state::zookeeper::Zookeeper;
use crate::state::{State, StateError, StoredFleet};
use config::diagnostic::has_errors;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use web::edit::{Done, Edit, EditRequest, Refused};
use web::view::{Status, View};

/// The pause before documents that could not be read are read again.
const READ_AGAIN: Duration = Duration::from_secs(2);

/// Stands by until this scheduler leads; `None`: it was stopped. One that could not lead with its `authority` says so before
/// it is elected.
pub(crate) async fn until_elected(
    elector: &mut Elector,
    documents: Zookeeper,
    authority: Option<Arc<Authority>>,
    people: &mut People,
    stop: &CancellationToken,
) -> Option<Leadership> {
    let standing = elector.standing();
    let (read, documents_read) = watch::channel(Documents::default());
    let showing = show(standing.clone(), documents_read, people.view.clone());
    let reading = follow(documents, authority, read);
    let winning = elector.win();
    tokio::pin!(showing, reading, winning);
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return None,
            won = &mut winning => return Some(won),
            () = &mut showing => {}
            () = &mut reading => {}
            Some(asked) = people.edits.recv() => {
                let why = standing.borrow().detail.clone();
                answer(asked, &why).await;
            }
            Some(ordered) = people.orders.recv() => {
                let why = standing.borrow().detail.clone();
                ordered.refuse(&why);
            }
        }
    }
}

/// Checks a text; changes nothing.
async fn answer(asked: EditRequest, why_not: &str) {
    let EditRequest { edit: Edit::Check { key, text }, reply } = asked else { return refuse(asked, why_not) };
    let checked = match tokio::task::spawn_blocking(move || check(&key, &text)).await {
        Ok(problems) if has_errors(&problems) => Err(Refused::Invalid(problems)),
        Ok(problems) => Ok(Done::Checked(problems)),
        Err(error) => Err(Refused::NotStored(format!("the check failed: {error}"))),
    };
    if reply.send(checked).is_err() {
        tracing::debug!("nobody waits for the answer to a check any more");
    }
}

/// The stored documents as they were read last, or why they could not be.
#[derive(Clone, Debug, Default)]
struct Documents {
    fleet: StoredFleet,
    trouble: Option<StateError>,
    /// Why this scheduler could not lead.
    unfit: Option<String>,
}

/// Reads the documents as often as they change. Never ends.
async fn follow(store: Zookeeper, authority: Option<Arc<Authority>>, read: watch::Sender<Documents>) {
    loop {
        let result = async {
            let fleet = store.load_fleet().await?;
            let known = store.load_authority().await?;
            let unfit = fits(authority.as_deref(), known.as_deref(), &store.describe()).err();
            let unfit = unfit.map(|error| error.to_string());
            if unfit.is_some() && unfit != read.borrow().unfit {
                tracing::error!(why = unfit.as_deref(), "this scheduler cannot lead when it is elected");
            }
            read.send_replace(Documents { fleet, trouble: None, unfit });
            store.fleet_changed().await
        };
        if let Err(trouble) = result.await {
            tracing::debug!(error = %trouble, "the documents cannot be read");
            read.send_modify(|documents| documents.trouble = Some(trouble));
            sleep(READ_AGAIN).await;
        }
    }
}

/// Publishes a view as often as something changes. Never ends.
async fn show(
    mut standing: watch::Receiver<Standing>,
    mut documents: watch::Receiver<Documents>,
    view: watch::Sender<Arc<View>>,
) {
    loop {
        let shown = view_of(&standing.borrow_and_update(), &documents.borrow_and_update());
        view.send_replace(Arc::new(shown));
        // Both senders outlive this.
        tokio::select! {
            _ = standing.changed() => {}
            _ = documents.changed() => {}
        }
    }
}

fn view_of(standing: &Standing, documents: &Documents) -> View {
    // But for the first there is nobody to send people to.
    let phase = match standing.chance {
        Chance::Next => "standby",
        Chance::Away => "waiting for state",
        Chance::Superseded => "superseded",
    };
    let detail = match (&documents.trouble, &documents.unfit) {
        (Some(trouble), _) if standing.chance != Chance::Away => format!("{}; {trouble}", standing.detail),
        (None, Some(why)) => format!("{}; this one cannot: {why}", standing.detail),
        _ => standing.detail.clone(),
    };
    let status = Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        phase: phase.to_owned(),
        detail,
        leader: standing.leader.as_ref().map(|leader| leader.api.clone()),
        revision: documents.fleet.fleet.revision,
        ..Status::default()
    };
    View { status, documents: documents.fleet.fleet.documents.clone().into(), ..View::default() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::leader::Candidate;
    use config::document::Revision;

    #[test]
    fn a_standby_says_who_leads_and_shows_the_documents_that_it_may_not_change() {
        let leader = Some(Candidate { api: "http://a:9092".into() });
        let standing = Standing { leader, detail: "http://a:9092 leads".into(), chance: Chance::Next };
        let mut documents = Documents::default();
        documents.fleet.fleet.revision = Revision(7);
        let status = view_of(&standing, &documents).status;
        assert_eq!((status.phase.as_str(), status.leader.as_deref()), ("standby", Some("http://a:9092")));
        assert_eq!((status.revision, status.writable), (Revision(7), false));
    }

    #[test]
    fn without_zookeeper_it_says_so_and_keeps_showing_what_it_read() {
        let standing =
            Standing { detail: "ZooKeeper does not answer".into(), chance: Chance::Away, leader: None };
        let mut documents = Documents::default();
        documents.fleet.fleet.revision = Revision(7);
        let status = view_of(&standing, &documents).status;
        assert_eq!((status.phase.as_str(), status.revision), ("waiting for state", Revision(7)));
        assert_eq!(status.detail, "ZooKeeper does not answer");
    }
}
