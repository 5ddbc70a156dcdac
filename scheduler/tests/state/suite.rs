//! Holds what must be true of every store, whichever it is.
use config::document::{Key, Kind, Revision, TEXT_MAX};
use scheduler::core::effects::{Change, LaunchRecord, LeftData, Phase};
use scheduler::core::generation::Generation;
use scheduler::core::rollout::{Rollout, RolloutRecord};
use scheduler::ids::{AgentId, Moment, TaskId};
use scheduler::state::{DocumentChange, Origin, SeenFile, State, StateError, Stored};
use std::collections::{BTreeMap, BTreeSet};

/// A place where a store can be opened, closed by dropping it, and opened again.
pub(crate) trait Place {
    /// The store that lives there.
    type Store: State;
    /// Opens it.
    fn open(&self) -> Self::Store;
}

pub(crate) fn launch(n: usize, phase: Phase) -> LaunchRecord {
    LaunchRecord {
        task: format!("logherd.S{n}.1.0000").as_str().into(),
        executor: format!("logherd-S{n}-1-0000").as_str().into(),
        agent: format!("agent-S{n}").as_str().into(),
        host: format!("node-{n}"),
        token_hash: "ab".repeat(32),
        control: "127.0.0.1:9094".into(),
        phase,
        launched_at: Moment(1_700_000_000_000),
        lineage: Box::default(),
    }
}

fn rollout(number: u64) -> Box<RolloutRecord> {
    let rollout = Rollout {
        from: None,
        to: Generation("0123456789ab".into()),
        rolls_back: false,
        max_unavailable: "10%".parse().unwrap(),
        canary: Some("rack=r1".parse().unwrap()),
        canaries: Some(BTreeSet::from([AgentId::from("agent-S1")])),
        pause_after_canary: true,
        paused: false,
        ended: None,
        began_at: Moment(1),
    };
    Box::new(RolloutRecord { number, known: vec![], rollout: Some(rollout), held: None })
}

pub(crate) fn key(name: &str) -> Key {
    Key { kind: Kind::Docker, name: name.into() }
}

pub(crate) fn put(name: &str, text: &str, on_top_of: u64) -> DocumentChange {
    let to = Some((text.to_owned(), Origin::Api(None)));
    DocumentChange { key: key(name), to, on_top_of: Revision(on_top_of) }
}

pub(crate) fn delete(name: &str, on_top_of: u64) -> DocumentChange {
    DocumentChange { key: key(name), to: None, on_top_of: Revision(on_top_of) }
}

fn by_task(stored: &Stored) -> BTreeMap<TaskId, LaunchRecord> {
    stored.launches.iter().map(|record| (record.task.clone(), record.clone())).collect()
}

/// Runs the whole suite; `fresh` gives a new, empty place each time.
pub(crate) async fn holds<P: Place>(fresh: impl Fn(&str) -> P) {
    nothing_there_is_an_empty_state(&fresh("empty")).await;
    what_was_saved_is_there_after_it_was_opened_again(&fresh("saved")).await;
    the_same_change_again_changes_nothing(&fresh("again")).await;
    a_teardown_is_known_until_another_framework_is_there(&fresh("teardown")).await;
    what_executors_left_is_there_until_it_is_forgotten(&fresh("left")).await;
    a_thousand_launches_are_stored_together(&fresh("many")).await;
    documents_keep_their_names_texts_and_origins(&fresh("documents")).await;
    a_revision_never_goes_back(&fresh("revision")).await;
    a_change_on_top_of_an_old_revision_is_refused(&fresh("conflict")).await;
    the_largest_document_fits(&fresh("large")).await;
}

async fn nothing_there_is_an_empty_state(place: &impl Place) {
    assert_eq!(place.open().load().await.unwrap(), Stored::default());
}

async fn a_teardown_is_known_until_another_framework_is_there(place: &impl Place) {
    let (framework, since) = (Some("f-0001".into()), Moment(77));
    let changes = [
        (Change::Framework(framework.clone()), None),
        (Change::TearDown { framework: framework.clone(), since }, Some(since)),
        (Change::TearDown { framework: None, since }, Some(since)),
        (Change::Framework(Some("f-0002".into())), None),
    ];
    for (change, torn_down) in changes {
        let store = place.open();
        store.load().await.unwrap();
        store.save(std::slice::from_ref(&change)).await.unwrap();
        drop(store);
        let stored = place.open().load().await.unwrap();
        let (Change::Framework(id) | Change::TearDown { framework: id, .. }) = change else { unreachable!() };
        assert_eq!((stored.framework, stored.torn_down), (id, torn_down));
    }
}

async fn what_executors_left_is_there_until_it_is_forgotten(place: &impl Place) {
    let left = |agent: &str, data: &str| LeftData { agent: agent.into(), data: data.to_owned() };
    let store = place.open();
    store.load().await.unwrap();
    let changes = [
        Change::Framework(Some("f-0001".into())),
        Change::Left(left("S1", "/a")),
        Change::Left(left("S2", "/a")),
        Change::Left(left("S1", "/b")),
        Change::Forgotten("S3".into()),
    ];
    store.save(&changes).await.unwrap();
    drop(store);
    let store = place.open();
    let mut found = store.load().await.unwrap().left;
    found.sort();
    assert_eq!(found, [left("S1", "/b"), left("S2", "/a")]);
    store.save(&[Change::Left(left("S2", "/c")), Change::Forgotten("S1".into())]).await.unwrap();
    drop(store);
    assert_eq!(place.open().load().await.unwrap().left, [left("S2", "/c")]);
}

async fn what_was_saved_is_there_after_it_was_opened_again(place: &impl Place) {
    let store = place.open();
    store.load().await.unwrap();
    let changes = [
        Change::Framework(Some("f-0001".into())),
        Change::Authority("ab12".into()),
        Change::Rollout(rollout(1)),
        Change::Launch(launch(1, Phase::Intended)),
        Change::Launch(launch(2, Phase::Intended)),
        Change::Launch(launch(3, Phase::Intended)),
    ];
    store.save(&changes).await.unwrap();
    store
        .save(&[Change::Launch(launch(1, Phase::Running)), Change::Ended(launch(2, Phase::Intended).task)])
        .await
        .unwrap();
    store.save(&[Change::Rollout(rollout(2))]).await.unwrap();
    store.change(&put("nginx", "input { }", 0)).await.unwrap();
    drop(store);
    let store = place.open();
    let stored = store.load().await.unwrap();
    assert_eq!(stored.framework, Some("f-0001".into()));
    assert_eq!(stored.authority.as_deref(), Some("ab12"));
    assert_eq!(stored.rollout, *rollout(2));
    let expected = [launch(1, Phase::Running), launch(3, Phase::Intended)].map(|r| (r.task.clone(), r));
    assert_eq!(by_task(&stored), BTreeMap::from(expected));
    assert_eq!(stored.documents.fleet.documents[&key("nginx")].text, "input { }");
    store.save(&[Change::Framework(None), Change::Rollout(rollout(3))]).await.unwrap();
    store
        .save(&[Change::Ended(launch(1, Phase::Running).task), Change::Ended(launch(3, Phase::Running).task)])
        .await
        .unwrap();
    drop(store);
    let stored = place.open().load().await.unwrap();
    assert_eq!((stored.framework, stored.launches.len(), stored.rollout.number), (None, 0, 3));
    assert_eq!(stored.documents.fleet.documents.len(), 1);
}

async fn the_same_change_again_changes_nothing(place: &impl Place) {
    let store = place.open();
    store.load().await.unwrap();
    let changes = [
        Change::Framework(Some("f-0001".into())),
        Change::Authority("ab12".into()),
        Change::Launch(launch(1, Phase::Running)),
        Change::Launch(launch(1, Phase::Running)),
        Change::Ended("never-there".into()),
    ];
    for _ in 0..3 {
        store.save(&changes).await.unwrap();
    }
    let stored = store.load().await.unwrap();
    assert_eq!(stored.launches, [launch(1, Phase::Running)]);
}

async fn a_thousand_launches_are_stored_together(place: &impl Place) {
    let store = place.open();
    store.load().await.unwrap();
    let mut changes = vec![Change::Framework(Some("f-0001".into()))];
    changes.extend((0..1000).map(|n| Change::Launch(launch(n, Phase::Intended))));
    store.save(&changes).await.unwrap();
    assert_eq!(by_task(&store.load().await.unwrap()).len(), 1000);
    let changes: Vec<Change> = (0..990).map(|n| Change::Ended(launch(n, Phase::Running).task)).collect();
    store.save(&changes).await.unwrap();
    drop(store);
    assert_eq!(by_task(&place.open().load().await.unwrap()).len(), 10);
}

async fn documents_keep_their_names_texts_and_origins(place: &impl Place) {
    let store = place.open();
    store.load().await.unwrap();
    let long = format!("registry:5000/{}", "a/".repeat(115));
    let names = ["nginx", "web/nginx:1.27", "web%2Fnginx:1.27", "*", "team/*", "a~b", long.as_str()];
    for (n, name) in names.iter().enumerate() {
        store.change(&put(name, &format!("# {name}\n\"quoted\" \u{1f600}\r\n"), n as u64)).await.unwrap();
    }
    let file = Origin::File(SeenFile { path: "host/all.conf".into(), hash: "00".into() });
    let host = Key { kind: Kind::Host, name: "nginx".into() };
    let change =
        DocumentChange { key: host.clone(), to: Some((String::new(), file.clone())), on_top_of: Revision(7) };
    store.change(&change).await.unwrap();
    drop(store);
    let documents = place.open().load().await.unwrap().documents;
    for (n, name) in names.iter().enumerate() {
        let document = &documents.fleet.documents[&key(name)];
        assert_eq!(document.text, format!("# {name}\n\"quoted\" \u{1f600}\r\n"));
        assert_eq!(document.revision, Revision(n as u64 + 1));
    }
    assert_eq!(documents.origins[&host], file);
    assert_eq!(documents.fleet.documents.len(), names.len() + 1);
}

async fn a_revision_never_goes_back(place: &impl Place) {
    let store = place.open();
    store.load().await.unwrap();
    store.change(&put("a", "1", 0)).await.unwrap();
    store.change(&put("b", "2", 1)).await.unwrap();
    store.change(&delete("b", 2)).await.unwrap();
    store.change(&delete("a", 3)).await.unwrap();
    drop(store);
    let store = place.open();
    let documents = store.load().await.unwrap().documents;
    assert_eq!((documents.fleet.revision, documents.fleet.documents.len()), (Revision(4), 0));
    store.change(&put("a", "again", 4)).await.unwrap();
    assert_eq!(store.load_fleet().await.unwrap().fleet.documents[&key("a")].revision, Revision(5));
}

async fn a_change_on_top_of_an_old_revision_is_refused(place: &impl Place) {
    let store = place.open();
    store.load().await.unwrap();
    store.change(&put("a", "1", 0)).await.unwrap();
    let error = store.change(&put("a", "2", 0)).await.unwrap_err();
    assert!(matches!(error, StateError::Conflict { found: Revision(1), .. }), "{error}");
    assert_eq!(store.load_fleet().await.unwrap().fleet.documents[&key("a")].text, "1");
}

async fn the_largest_document_fits(place: &impl Place) {
    let store = place.open();
    store.load().await.unwrap();
    // Nothing but characters that a text format would have to escape.
    let text = "\"\n\\\t".repeat(TEXT_MAX / 4);
    store.change(&put("large", &text, 0)).await.unwrap();
    drop(store);
    assert_eq!(place.open().load().await.unwrap().documents.fleet.documents[&key("large")].text, text);
}
