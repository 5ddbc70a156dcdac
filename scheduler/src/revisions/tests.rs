//! Shows what edits come to, and that what was not stored was not accepted.
use super::*;
use crate::core::effects::Change;
use crate::state::Stored;
use config::document::{Document, Fleet};
use std::sync::Mutex;

fn key(name: &str) -> Key {
    Key { kind: Kind::Docker, name: name.into() }
}

fn put(name: &str, text: &str, expect: Expect) -> Edit {
    Edit::Put { key: key(name), text: text.into(), expect }
}

fn holding(name: &str, text: &str, revision: u64) -> StoredFleet {
    let mut fleet = Fleet { revision: Revision(revision + 2), ..Fleet::default() };
    fleet.documents.insert(key(name), Document { text: text.into(), revision: Revision(revision) });
    StoredFleet { fleet, origins: BTreeMap::from([(key(name), Origin::Api(None))]) }
}

fn seen(hash: &str) -> SeenFile {
    SeenFile { path: "docker/nginx.conf".into(), hash: hash.into() }
}

#[test]
fn an_edit_writes_the_next_revision_of_the_fleet() {
    let stored = holding("nginx", "old", 3);
    let verdict = decide(&stored, &put("nginx", "new", Expect::Any), None, vec![]).unwrap();
    let Verdict::Write(change, done) = verdict else { panic!("{verdict:?}") };
    assert_eq!(done, Done::Changed(Revision(6), vec![]));
    assert_eq!((change.on_top_of, change.revision()), (Revision(5), Revision(6)));
}

#[test]
fn what_is_expected_is_compared_before_anything_else() {
    let stored = holding("nginx", "old", 3);
    let broken = vec![Diagnostic::error("x", 0, 1, "wrong")];
    let refused = |edit: Edit| decide(&stored, &edit, None, broken.clone()).unwrap_err();
    assert_eq!(refused(put("nginx", "x", Expect::Absent)), Refused::Exists);
    assert_eq!(refused(put("nginx", "x", Expect::At(Revision(2)))), Refused::Conflict(Revision(3)));
    assert_eq!(refused(put("redis", "x", Expect::Present)), Refused::NotFound);
    assert_eq!(refused(put("nginx", "x", Expect::At(Revision(3)))), Refused::Invalid(broken.clone()));
    assert_eq!(refused(Edit::Delete { key: key("redis"), expect: Expect::Any }), Refused::NotFound);
}

#[test]
fn the_same_text_again_changes_nothing() {
    let stored = holding("nginx", "old", 3);
    let verdict = decide(&stored, &put("nginx", "old", Expect::Any), None, vec![]).unwrap();
    assert_eq!(verdict, Verdict::Answer(Done::Unchanged(Revision(3), vec![])));
}

#[test]
fn an_edit_by_a_person_over_a_file_remembers_what_the_file_said() {
    let mut stored = holding("nginx", "old", 3);
    stored.origins.insert(key("nginx"), Origin::File(seen("aa")));
    let verdict = decide(&stored, &put("nginx", "new", Expect::Any), None, vec![]).unwrap();
    let Verdict::Write(change, _) = verdict else { panic!("{verdict:?}") };
    assert_eq!(change.to.unwrap().1, Origin::Api(Some(seen("aa"))));
}

#[test]
fn a_text_that_no_store_could_hold_is_refused_with_what_to_do() {
    let problems = check(&key("nginx"), &"x".repeat(TEXT_MAX + 1));
    assert_eq!(problems[0].message, "the text has 1000001 bytes; at most 1000000 are allowed");
}

/// A store that fails when it is told to.
#[derive(Default)]
struct Shaky {
    held: Mutex<StoredFleet>,
    fail: Mutex<Option<StateError>>,
    /// Whether the failing write happens all the same.
    happens: Mutex<bool>,
}

impl State for Shaky {
    async fn load(&self) -> Result<Stored, StateError> {
        Ok(Stored::default())
    }

    async fn load_fleet(&self) -> Result<StoredFleet, StateError> {
        Ok(self.held.lock().unwrap().clone())
    }

    async fn save(&self, _: &[Change]) -> Result<(), StateError> {
        Ok(())
    }

    async fn change(&self, change: &DocumentChange) -> Result<(), StateError> {
        let failure = self.fail.lock().unwrap().take();
        if failure.is_none() || *self.happens.lock().unwrap() {
            let mut held = self.held.lock().unwrap();
            held.fleet.revision = change.revision();
            held.fleet.documents.insert(change.key.clone(), change.document().unwrap());
        }
        failure.map_or(Ok(()), Err)
    }

    fn describe(&self) -> String {
        "a store for tests".into()
    }
}

const TEXT: &str = "filter { }";

async fn edit_with(fail: StateError, happens: bool) -> (Result<Done, Refused>, Arc<Published>) {
    let state = Arc::new(Shaky::default());
    *state.fail.lock().unwrap() = Some(fail);
    *state.happens.lock().unwrap() = happens;
    let (mut editor, seen) = Editor::new(state, StoredFleet::default());
    let text = TEXT;
    let result = editor.edit(put("nginx", text, Expect::Any), None).await;
    let published = Arc::clone(&seen.borrow());
    (result, published)
}

fn unknown() -> StateError {
    StateError::Unknown { place: "zk".into(), why: "connection lost".into() }
}

#[tokio::test]
async fn an_edit_that_was_not_stored_is_refused_and_published_to_nobody() {
    let failure = StateError::Unavailable { place: "/state".into(), why: "no space left".into() };
    let (result, published) = edit_with(failure, false).await;
    let why = "the state store `/state` does not work: no space left".to_owned();
    assert_eq!(result, Err(Refused::NotStored(why)));
    assert!(published.stored.fleet.documents.is_empty());
}

#[tokio::test]
async fn a_write_of_unknown_outcome_is_looked_up() {
    let (result, published) = edit_with(unknown(), true).await;
    assert!(matches!(result, Ok(Done::Created(Revision(1), _))), "{result:?}");
    assert_eq!(published.stored.fleet.revision, Revision(1));
    let (result, published) = edit_with(unknown(), false).await;
    assert!(matches!(result, Err(Refused::NotStored(_))), "{result:?}");
    assert_eq!(published.stored.fleet.revision, Revision(0));
}

#[tokio::test]
async fn a_revision_that_was_published_never_goes_back() {
    let state = Arc::new(Shaky::default());
    let (mut editor, seen) = Editor::new(Arc::clone(&state), holding("nginx", TEXT, 7));
    assert!(editor.reload().await.is_err());
    let published = Arc::clone(&seen.borrow());
    assert_eq!(published.stored.fleet.revision, Revision(9));
    assert!(published.trouble.as_ref().unwrap().contains("it went back from revision 9 to 0"));
    assert!(matches!(editor.edit(put("a", TEXT, Expect::Any), None).await, Err(Refused::NotStored(_))));
}
