//! Takes edits one after the other: check the text, compare what is expected, persist, then publish the new revision.
//!
//! Nobody is told of a revision before it is stored, and an edit that was not stored is refused.
use crate::state::{DocumentChange, Origin, SeenFile, State, StateError, StoredFleet};
use config::diagnostic::{Diagnostic, Severity, has_errors};
use config::document::{Key, Kind, Revision, TEXT_MAX};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use web::edit::{Done, Edit, EditRequest, Expect, Refused};

/// How often a store that was lost is read again.
const RELOAD: Duration = Duration::from_secs(2);

/// What everybody sees: replaced as a whole.
#[derive(Clone, Debug, Default)]
pub(crate) struct Published {
    /// The documents, their revision, their origins.
    pub(crate) stored: StoredFleet,
    /// Warnings about the texts in force.
    pub(crate) problems: BTreeMap<Key, Vec<Diagnostic>>,
    /// Why edits are refused now.
    pub(crate) trouble: Option<String>,
}

/// An edit that a file of the config directory means.
#[derive(Debug)]
pub(crate) struct FileEdit {
    pub(crate) edit: Edit,
    pub(crate) file: SeenFile,
    pub(crate) reply: oneshot::Sender<Result<Done, Refused>>,
}

/// What an edit comes to once its text was checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Nothing is to be written.
    Answer(Done),
    /// This is to be written; then the answer holds.
    Write(DocumentChange, Done),
}

/// Decides about an edit. `problems` is what the check of its text found; `file` is where it comes from, if not from a
/// person.
pub(crate) fn decide(
    stored: &StoredFleet,
    edit: &Edit,
    file: Option<&SeenFile>,
    problems: Vec<Diagnostic>,
) -> Result<Verdict, Refused> {
    let on_top_of = stored.fleet.revision;
    let revision = Revision(on_top_of.0 + 1);
    match edit {
        Edit::Check { .. } if has_errors(&problems) => Err(Refused::Invalid(problems)),
        Edit::Check { .. } => Ok(Verdict::Answer(Done::Checked(problems))),
        Edit::Delete { key, expect } => {
            expected(stored, key, *expect)?;
            if !stored.fleet.documents.contains_key(key) {
                return Err(Refused::NotFound);
            }
            let change = DocumentChange { key: key.clone(), to: None, on_top_of };
            Ok(Verdict::Write(change, Done::Deleted(revision)))
        }
        Edit::Put { key, text, expect } => {
            expected(stored, key, *expect)?;
            if has_errors(&problems) {
                return Err(Refused::Invalid(problems));
            }
            let before = stored.origins.get(key);
            let origin = match file {
                Some(file) => Origin::File(file.clone()),
                None => Origin::Api(before.and_then(Origin::file).cloned()),
            };
            let done = match stored.fleet.documents.get(key) {
                Some(document) if document.text == *text && (file.is_none() || before == Some(&origin)) => {
                    return Ok(Verdict::Answer(Done::Unchanged(document.revision, problems)));
                }
                Some(_) => Done::Changed(revision, problems),
                None => Done::Created(revision, problems),
            };
            let change = DocumentChange { key: key.clone(), to: Some((text.clone(), origin)), on_top_of };
            Ok(Verdict::Write(change, done))
        }
    }
}

fn expected(stored: &StoredFleet, key: &Key, expect: Expect) -> Result<(), Refused> {
    let found = stored.fleet.documents.get(key).map(|document| document.revision);
    match (expect, found) {
        (Expect::Any, _) | (Expect::Absent, None) | (Expect::Present, Some(_)) => Ok(()),
        (Expect::Absent, Some(_)) => Err(Refused::Exists),
        (Expect::Present | Expect::At(_), None) => Err(Refused::NotFound),
        (Expect::At(wanted), Some(found)) if wanted == found => Ok(()),
        (Expect::At(_), Some(found)) => Err(Refused::Conflict(found)),
    }
}

/// Checks a text as the document that it would be: everything that is wrong with it.
pub(crate) fn check(key: &Key, text: &str) -> Vec<Diagnostic> {
    if text.len() > TEXT_MAX {
        let message = format!("the text has {} bytes; at most {TEXT_MAX} are allowed", text.len());
        return vec![Diagnostic::error(text, 0, 0, message).with_hint("split it into several configs")];
    }
    let scope = match key.kind {
        Kind::Docker => pipeline::Scope::Docker,
        Kind::Host => pipeline::Scope::Host,
    };
    // `${NAME}` is filled in on the nodes, with what is not known here: it is right if some value would be right.
    let values: &[&str] = if text.contains("${") { &["1", "true", "http://localhost"] } else { &[""] };
    let checked = values.iter().map(|value| pipeline::check(scope, text, &|_| Some((*value).to_owned())));
    checked
        .min_by_key(|problems| problems.iter().filter(|p| p.severity == Severity::Error).count())
        .unwrap_or_default()
}

/// The one who writes documents.
pub(crate) struct Editor<S> {
    state: Arc<S>,
    published: watch::Sender<Arc<Published>>,
    /// The last read or write went wrong: read again before anything else.
    stale: bool,
}

impl<S: State> Editor<S> {
    /// An editor of what was loaded, and where its revisions can be seen.
    pub(crate) fn new(state: Arc<S>, stored: StoredFleet) -> (Self, watch::Receiver<Arc<Published>>) {
        let problems =
            stored.fleet.documents.iter().map(|(key, document)| (key.clone(), check(key, &document.text)));
        let published = Published { problems: problems.collect(), stored, trouble: None };
        let (published, seen) = watch::channel(Arc::new(published));
        (Self { state, published, stale: false }, seen)
    }

    /// Takes edits until `stop`.
    pub(crate) async fn run(
        mut self,
        mut people: mpsc::Receiver<EditRequest>,
        mut files: mpsc::Receiver<FileEdit>,
        stop: CancellationToken,
    ) {
        let mut reload = tokio::time::interval(RELOAD);
        reload.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let (mut people_ask, mut files_ask) = (true, true);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                asked = people.recv(), if people_ask => match asked {
                    Some(EditRequest { edit, reply }) => answer(reply, self.edit(edit, None).await),
                    None => people_ask = false,
                },
                asked = files.recv(), if files_ask => match asked {
                    Some(FileEdit { edit, file, reply }) => answer(reply, self.edit(edit, Some(file)).await),
                    None => files_ask = false,
                },
                _ = reload.tick(), if self.stale => drop(self.reload().await),
            }
        }
    }

    async fn edit(&mut self, edit: Edit, file: Option<SeenFile>) -> Result<Done, Refused> {
        let checked = match &edit {
            Edit::Put { key, text, .. } | Edit::Check { key, text } => Some((key.clone(), text.clone())),
            Edit::Delete { .. } => None,
        };
        let problems = match checked {
            Some((key, text)) => {
                let checking = tokio::task::spawn_blocking(move || check(&key, &text)).await;
                checking.map_err(|e| Refused::NotStored(format!("the check failed: {e}")))?
            }
            None => Vec::new(),
        };
        if self.stale && !matches!(edit, Edit::Check { .. }) {
            self.reload().await.map_err(|e| Refused::NotStored(e.to_string()))?;
        }
        let before = Arc::clone(&self.published.borrow());
        match decide(&before.stored, &edit, file.as_ref(), problems.clone())? {
            Verdict::Answer(done) => Ok(done),
            Verdict::Write(change, done) => self.write(change, done, problems).await,
        }
    }

    async fn write(
        &mut self,
        change: DocumentChange,
        done: Done,
        problems: Vec<Diagnostic>,
    ) -> Result<Done, Refused> {
        let error = match self.state.change(&change).await {
            Ok(()) => {
                self.publish(&change, problems);
                return Ok(done);
            }
            Err(error) => error,
        };
        tracing::warn!(document = %change.key, %error, "an edit could not be stored");
        // What is there now has to be known before the next edit; after a lost write it also tells what became of this one.
        let reloaded = self.reload().await;
        if matches!(error, StateError::Unknown { .. }) && reloaded.is_ok() {
            let now = Arc::clone(&self.published.borrow());
            let document = now.stored.fleet.documents.get(&change.key);
            if now.stored.fleet.revision == change.revision() && document == change.document().as_ref() {
                return Ok(done);
            }
        }
        Err(Refused::NotStored(error.to_string()))
    }

    fn publish(&self, change: &DocumentChange, problems: Vec<Diagnostic>) {
        let mut next = Published::clone(&self.published.borrow());
        let stored = &mut next.stored;
        stored.fleet.revision = change.revision();
        match (&change.to, change.document()) {
            (Some((_, origin)), Some(document)) => {
                stored.fleet.documents.insert(change.key.clone(), document);
                stored.origins.insert(change.key.clone(), origin.clone());
                next.problems.insert(change.key.clone(), problems);
            }
            _ => {
                stored.fleet.documents.remove(&change.key);
                stored.origins.remove(&change.key);
                next.problems.remove(&change.key);
            }
        }
        next.trouble = None;
        tracing::info!(document = %change.key, revision = %change.revision(), "stored a revision");
        self.published.send_replace(Arc::new(next));
    }

    /// Reads the documents again. The revision that was published never goes back, whatever is read.
    async fn reload(&mut self) -> Result<(), StateError> {
        self.stale = true;
        let before = Arc::clone(&self.published.borrow());
        match self.state.load_fleet().await {
            Ok(stored) if stored.fleet.revision >= before.stored.fleet.revision => {
                self.stale = false;
                let mut problems = before.problems.clone();
                problems.retain(|key, _| stored.fleet.documents.contains_key(key));
                for (key, document) in &stored.fleet.documents {
                    if before.stored.fleet.documents.get(key) != Some(document) {
                        problems.insert(key.clone(), check(key, &document.text));
                    }
                }
                self.published.send_replace(Arc::new(Published { stored, problems, trouble: None }));
                Ok(())
            }
            Ok(stored) => {
                let (found, ours) = (stored.fleet.revision, before.stored.fleet.revision);
                let why = format!("it went back from revision {ours} to {found}; restore the newer state");
                let error = StateError::Unreadable { place: self.state.describe(), why };
                self.trouble(&error);
                Err(error)
            }
            Err(error) => {
                self.trouble(&error);
                Err(error)
            }
        }
    }

    fn trouble(&self, error: &StateError) {
        self.published.send_modify(|published| Arc::make_mut(published).trouble = Some(error.to_string()));
    }
}

/// An asker that has gone away needs no answer.
fn answer(reply: oneshot::Sender<Result<Done, Refused>>, result: Result<Done, Refused>) {
    if reply.send(result).is_err() {
        tracing::debug!("nobody waits for the answer to an edit any more");
    }
}

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
