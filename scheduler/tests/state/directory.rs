//! Runs the suite against directories, and shows what a directory does when it is locked, damaged or full.
use crate::suite::{Place, holds, key, launch, put};
use config::document::Revision;
use scheduler::core::effects::{Change, Phase};
use scheduler::state::directory::Directory;
use scheduler::state::{State, StateError};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

struct Folder(PathBuf);

impl Place for Folder {
    type Store = Directory;
    fn open(&self) -> Directory {
        Directory::open(&self.0).unwrap()
    }
}

#[tokio::test]
async fn a_directory_keeps_what_every_store_promises() {
    let root = tempfile::tempdir().unwrap();
    holds(|name| Folder(root.path().join(name))).await;
}

#[tokio::test]
async fn a_second_scheduler_is_locked_out_until_the_first_one_ends() {
    let root = tempfile::tempdir().unwrap();
    let first = Directory::open(root.path()).unwrap();
    assert!(matches!(Directory::open(root.path()), Err(StateError::Locked { .. })));
    drop(first);
    Directory::open(root.path()).unwrap();
}

#[tokio::test]
async fn a_new_directory_is_for_its_owner_only_since_configs_may_hold_passwords() {
    let root = tempfile::tempdir().unwrap();
    Directory::open(&root.path().join("new")).unwrap();
    let mode = fs::metadata(root.path().join("new")).unwrap().permissions().mode();
    assert_eq!(mode & 0o077, 0);
}

/// A directory with a framework, a launch and a document, closed.
async fn filled(root: &Path) {
    let store = Directory::open(root).unwrap();
    store.load().await.unwrap();
    store
        .save(&[Change::Framework(Some("f-1".into())), Change::Launch(launch(1, Phase::Running))])
        .await
        .unwrap();
    store.change(&put("nginx", "input { }", 0)).await.unwrap();
}

fn files(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else if path.file_name().unwrap() != "lock" {
            found.push(path);
        }
    }
}

#[tokio::test]
async fn a_file_that_is_damaged_or_cut_off_is_an_error_with_its_place_and_never_an_empty_state() {
    let root = tempfile::tempdir().unwrap();
    filled(root.path()).await;
    let mut all = Vec::new();
    files(root.path(), &mut all);
    assert_eq!(all.len(), 4);
    for path in all {
        let whole = fs::read(&path).unwrap();
        for damaged in [whole[..whole.len() / 2].to_vec(), Vec::new(), [b"x", &whole[..]].concat()] {
            fs::write(&path, &damaged).unwrap();
            let error = Directory::open(root.path()).unwrap().load().await.unwrap_err();
            assert!(matches!(&error, StateError::Unreadable { .. }), "{error}");
            assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
        }
        fs::write(&path, &whole).unwrap();
    }
    assert!(Directory::open(root.path()).unwrap().load().await.is_ok());
}

#[tokio::test]
async fn launches_without_a_framework_id_are_an_error() {
    let root = tempfile::tempdir().unwrap();
    filled(root.path()).await;
    fs::remove_file(root.path().join("framework")).unwrap();
    let error = Directory::open(root.path()).unwrap().load().await.unwrap_err();
    assert!(error.to_string().contains("launches but no framework id"), "{error}");
}

#[tokio::test]
async fn what_a_crash_leaves_of_an_unfinished_write_is_not_read() {
    let root = tempfile::tempdir().unwrap();
    filled(root.path()).await;
    fs::write(root.path().join("configs/.docker-nginx.new"), "half").unwrap();
    fs::write(root.path().join("launches/.03.new"), "half").unwrap();
    let stored = Directory::open(root.path()).unwrap().load().await.unwrap();
    assert_eq!((stored.launches.len(), stored.documents.fleet.documents.len()), (1, 1));
}

#[tokio::test]
async fn a_change_that_cannot_be_written_is_an_error_and_leaves_the_document_as_it_was() {
    let root = tempfile::tempdir().unwrap();
    filled(root.path()).await;
    let store = Directory::open(root.path()).unwrap();
    store.load().await.unwrap();
    // A directory in the place of the file that the write goes through: this fails for root too.
    let in_the_way = root.path().join("configs/.docker-nginx.new");
    fs::create_dir(&in_the_way).unwrap();
    let error = store.change(&put("nginx", "changed", 1)).await.unwrap_err();
    assert!(matches!(error, StateError::Unavailable { .. }), "{error}");
    fs::remove_dir(&in_the_way).unwrap();
    let documents = store.load_fleet().await.unwrap();
    assert_eq!(documents.fleet.documents[&key("nginx")].text, "input { }");
    // The revision is used up: nobody may ever see two different things under one number.
    assert_eq!(documents.fleet.revision, Revision(2));
    store.change(&put("nginx", "changed", 2)).await.unwrap();
}

#[tokio::test]
async fn a_launch_that_cannot_be_written_is_not_remembered_as_written() {
    let root = tempfile::tempdir().unwrap();
    filled(root.path()).await;
    let store = Directory::open(root.path()).unwrap();
    store.load().await.unwrap();
    let blocked: Vec<PathBuf> = (0..16).map(|n| root.path().join(format!("launches/.{n:02}.new"))).collect();
    blocked.iter().for_each(|path| fs::create_dir(path).unwrap());
    store.save(&[Change::Launch(launch(2, Phase::Intended))]).await.unwrap_err();
    blocked.iter().for_each(|path| fs::remove_dir(path).unwrap());
    store.save(&[Change::Launch(launch(1, Phase::Unreachable))]).await.unwrap();
    drop(store);
    let stored = Directory::open(root.path()).unwrap().load().await.unwrap();
    assert_eq!(stored.launches, [launch(1, Phase::Unreachable)]);
}
