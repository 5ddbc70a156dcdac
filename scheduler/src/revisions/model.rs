//! Drives editors of several leaders, one after the other and beside each other, on one store whose writes fail.
//!
//! Laws: every edit that was accepted is in the store at the revision that was told; a revision is made once, and no leader
//! writes after a later one; what an editor publishes is what the store held at that revision, and never goes back.
//! `LOGHERD_MODEL_STEPS` is for this model, too.
use super::*;
use crate::core::effects::Change;
use crate::state::Stored;
use proptest::prelude::*;
use proptest::test_runner::{TestError, TestRunner};
use std::sync::Mutex;

const STEPS: u32 = 3_000;
const LONGEST: usize = 60;
const TEXTS: [&str; 3] = ["filter { }", "output { null { } }", "filter { mutate { } }"];

#[derive(Clone, Copy, Debug)]
enum Step {
    /// Through the editor of that leader, counted from the newest: 0 leads, the others were deposed.
    Edit { leader: usize, name: usize, text: Option<usize>, expect: Expectation },
    /// What the next write comes to.
    NextWrite(Write),
    /// The next read fails.
    NextReadFails,
    /// A leader reads again, as it does from time to time after a failure.
    Reload(usize),
    /// Another one takes office.
    NewLeader,
}

#[derive(Clone, Copy, Debug)]
enum Expectation {
    Any,
    Absent,
    Present,
    /// The revision at which this leader shows it.
    Shown,
}

#[derive(Clone, Copy, Debug)]
enum Write {
    Fails,
    /// Nobody knows, and it happened.
    LostAndHappened,
    /// Nobody knows, and it did not happen.
    Lost,
}

fn step() -> impl Strategy<Value = Step> {
    let expect = prop_oneof![
        4 => Just(Expectation::Any),
        1 => Just(Expectation::Absent),
        1 => Just(Expectation::Present),
        2 => Just(Expectation::Shown),
    ];
    let text = prop_oneof![4 => (0..3usize).prop_map(Some), 1 => Just(None)];
    let leader = prop_oneof![5 => Just(0usize), 1 => 1..3usize];
    let write = prop_oneof![Just(Write::Fails), Just(Write::LostAndHappened), Just(Write::Lost)];
    prop_oneof![
        12 => (leader, 0..3usize, text, expect)
            .prop_map(|(leader, name, text, expect)| Step::Edit { leader, name, text, expect }),
        4 => write.prop_map(Step::NextWrite),
        1 => Just(Step::NextReadFails),
        1 => (0..3usize).prop_map(Step::Reload),
        2 => Just(Step::NewLeader),
    ]
}

/// What the store has held: each change with the epoch of its writer.
#[derive(Default)]
struct Shared {
    held: StoredFleet,
    epoch: u64,
    next_write: Option<Write>,
    next_read_fails: bool,
    history: Vec<(u64, DocumentChange)>,
}

/// The store as the leader of one epoch reaches it.
struct Office {
    shared: Arc<Mutex<Shared>>,
    epoch: u64,
}

const PLACE: &str = "zk";

impl State for Office {
    async fn load(&self) -> Result<Stored, StateError> {
        Ok(Stored::default())
    }

    async fn load_fleet(&self) -> Result<StoredFleet, StateError> {
        let mut shared = self.shared.lock().unwrap();
        match std::mem::take(&mut shared.next_read_fails) {
            true => Err(StateError::Unavailable { place: PLACE.into(), why: "no quorum".into() }),
            false => Ok(shared.held.clone()),
        }
    }

    async fn save(&self, _: &[Change]) -> Result<(), StateError> {
        Ok(())
    }

    async fn change(&self, change: &DocumentChange) -> Result<(), StateError> {
        let mut shared = self.shared.lock().unwrap();
        if self.epoch != shared.epoch {
            return Err(StateError::Deposed { place: PLACE.into() });
        }
        let (found, expected) = (shared.held.fleet.revision, change.on_top_of);
        if found != expected {
            return Err(StateError::Conflict { place: PLACE.into(), expected, found });
        }
        let write = shared.next_write.take();
        if !matches!(write, Some(Write::Fails | Write::Lost)) {
            apply(&mut shared.held, change);
            shared.history.push((self.epoch, change.clone()));
        }
        let (place, why) = (PLACE.to_owned(), "connection lost".to_owned());
        match write {
            None => Ok(()),
            Some(Write::Fails) => Err(StateError::Unavailable { place, why }),
            Some(Write::Lost | Write::LostAndHappened) => Err(StateError::Unknown { place, why }),
        }
    }

    fn describe(&self) -> String {
        PLACE.into()
    }
}

fn apply(held: &mut StoredFleet, change: &DocumentChange) {
    held.fleet.revision = change.revision();
    match (&change.to, change.document()) {
        (Some((_, origin)), Some(document)) => {
            held.origins.insert(change.key.clone(), origin.clone());
            held.fleet.documents.insert(change.key.clone(), document);
        }
        _ => {
            held.origins.remove(&change.key);
            held.fleet.documents.remove(&change.key);
        }
    }
}

struct World {
    shared: Arc<Mutex<Shared>>,
    /// The newest leader last.
    leaders: Vec<(Editor<Office>, watch::Receiver<Arc<Published>>, Revision)>,
    /// What was accepted: the revision, the key, the text.
    accepted: Vec<(Revision, Key, Option<&'static str>)>,
}

impl World {
    fn new() -> Self {
        let mut world = Self { shared: Arc::default(), leaders: vec![], accepted: vec![] };
        world.new_leader();
        world
    }

    /// A leader raises the epoch, then reads.
    fn new_leader(&mut self) {
        let mut shared = self.shared.lock().unwrap();
        shared.epoch += 1;
        let office = Office { shared: Arc::clone(&self.shared), epoch: shared.epoch };
        let (editor, seen) = Editor::new(Arc::new(office), shared.held.clone());
        let revision = shared.held.fleet.revision;
        drop(shared);
        self.leaders.push((editor, seen, revision));
        let drop_oldest = self.leaders.len().saturating_sub(3);
        self.leaders.drain(..drop_oldest);
    }

    async fn perform(&mut self, step: Step) -> Result<(), String> {
        let newest = self.leaders.len() - 1;
        match step {
            Step::NewLeader => self.new_leader(),
            Step::NextWrite(write) => self.shared.lock().unwrap().next_write = Some(write),
            Step::NextReadFails => self.shared.lock().unwrap().next_read_fails = true,
            Step::Reload(leader) => drop(self.leaders[newest.saturating_sub(leader)].0.reload().await),
            Step::Edit { leader, name, text, expect } => {
                let (editor, seen, _) = &mut self.leaders[newest.saturating_sub(leader)];
                let key = Key { kind: Kind::Docker, name: format!("config-{name}") };
                let shown = seen.borrow().stored.fleet.documents.get(&key).map(|document| document.revision);
                let expect = match expect {
                    Expectation::Any => Expect::Any,
                    Expectation::Absent => Expect::Absent,
                    Expectation::Present => Expect::Present,
                    Expectation::Shown => shown.map_or(Expect::Absent, Expect::At),
                };
                let text = text.map(|n| TEXTS[n]);
                let edit = match text {
                    Some(text) => Edit::Put { key: key.clone(), text: text.into(), expect },
                    None => Edit::Delete { key: key.clone(), expect },
                };
                if let Ok(Done::Created(at, _) | Done::Changed(at, _) | Done::Deleted(at)) =
                    editor.edit(edit, None).await
                {
                    self.accepted.push((at, key, text));
                }
            }
        }
        self.laws()
    }

    fn laws(&mut self) -> Result<(), String> {
        let shared = self.shared.lock().unwrap();
        for (at, key, text) in &self.accepted {
            let made = |change: &DocumentChange| change.revision() == *at && change.key == *key;
            let change = shared.history.iter().map(|(_, change)| change).find(|change| made(change));
            let stored = change.map(|change| change.to.as_ref().map(|(text, _)| text.as_str()));
            if stored != Some(*text) {
                return Err(format!("{key} was accepted as {text:?} at {at}; stored is {stored:?}"));
            }
        }
        for pair in shared.history.windows(2) {
            if pair[0].1.revision() >= pair[1].1.revision() || pair[0].0 > pair[1].0 {
                return Err(format!("a revision was made twice, or by a leader after a later one: {pair:?}"));
            }
        }
        for (_, seen, last) in &mut self.leaders {
            let published = Arc::clone(&seen.borrow());
            let revision = published.stored.fleet.revision;
            let mut held = StoredFleet::default();
            let until = shared.history.iter().filter(|(_, change)| change.revision() <= revision);
            until.for_each(|(_, change)| apply(&mut held, change));
            if revision < *last || published.stored != held {
                return Err(format!("published is {:?}, stored was {held:?}", published.stored));
            }
            *last = revision;
        }
        Ok(())
    }

    /// Nothing fails any more: the leader takes an edit, at the latest after it has read again.
    async fn settle(&mut self) -> Result<(), String> {
        {
            let mut shared = self.shared.lock().unwrap();
            (shared.next_write, shared.next_read_fails) = (None, false);
        }
        let (editor, ..) = self.leaders.last_mut().unwrap();
        let key = Key { kind: Kind::Docker, name: "last".into() };
        let edit = Edit::Put { key, text: TEXTS[0].into(), expect: Expect::Absent };
        let done = editor.edit(edit, None).await;
        if !matches!(done, Ok(Done::Created(..))) {
            return Err(format!("an edit is refused though everything works: {done:?}"));
        }
        self.laws()
    }
}

#[test]
fn every_edit_that_was_accepted_is_in_the_store_whatever_fails_and_whoever_led() {
    let wanted = config::settings::environment("LOGHERD_MODEL_STEPS").map_or(STEPS, |n| n.parse().unwrap());
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let cases = wanted.div_ceil(u32::try_from(LONGEST).unwrap() / 2);
    let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    let accepted = std::cell::Cell::new(0);
    let outcome = TestRunner::new(config).run(&prop::collection::vec(step(), 0..LONGEST), |steps| {
        runtime.block_on(async {
            let mut world = World::new();
            for step in steps {
                world.perform(step).await.map_err(TestCaseError::fail)?;
            }
            accepted.set(accepted.get() + world.accepted.len());
            world.settle().await.map_err(TestCaseError::fail)
        })
    });
    match outcome {
        Ok(()) => println!("{cases} histories, {} edits accepted", accepted.get()),
        Err(TestError::Fail(why, steps)) => {
            panic!("the shortest history found that breaks a law: {steps:?}\n{why}")
        }
        Err(TestError::Abort(why)) => panic!("{why}"),
    }
    assert!(accepted.get() > 0, "no edit was accepted");
}
