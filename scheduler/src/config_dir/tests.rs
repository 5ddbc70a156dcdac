//! Shows what files in the config directory mean.
use super::files::{key_of, percent_decoded};
use super::*;
use config::document::{Document, Revision, TEXT_MAX};
use proptest::prelude::*;
use std::fs;
use std::os::unix::fs::symlink;

fn file(path: &str, text: &str) -> Found {
    let kind = if path.starts_with("docker") { Kind::Docker } else { Kind::Host };
    Found { path: path.into(), key: key_of(kind, path), text: Ok(text.into()) }
}

fn docker(name: &str) -> Key {
    Key { kind: Kind::Docker, name: name.into() }
}

/// A fleet that holds what these files said.
fn taken_in(files: &[Found]) -> StoredFleet {
    let mut stored = StoredFleet::default();
    for file in files {
        let (key, text) = (file.key.clone().unwrap(), file.text.clone().unwrap());
        let seen = SeenFile { path: file.path.clone(), hash: hash(&text) };
        stored.origins.insert(key.clone(), Origin::File(seen));
        stored.fleet.documents.insert(key, Document { text, revision: Revision(4) });
    }
    stored
}

#[test]
fn a_name_is_the_path_or_its_percent_encoding() {
    let name = |path: &str| key_of(Kind::Docker, path).map(|key| key.name);
    assert_eq!(name("docker/web/nginx.conf").unwrap(), "web/nginx");
    assert_eq!(name("docker/web%2Fnginx%3A1.27.conf").unwrap(), "web/nginx:1.27");
    assert_eq!(name("docker/web%2.conf").unwrap_err(), "the name `web%2` has a wrong percent escape");
    assert!(name("docker/a b.conf").is_err());
}

#[test]
fn a_file_that_is_as_it_was_means_nothing() {
    let files = [file("docker/nginx.conf", "a"), file("host/all.conf", "b")];
    let meant = meaning(&files, &taken_in(&files), &BTreeMap::new());
    assert_eq!((meant.edits.len(), meant.unusable.len(), meant.known.len()), (0, 0, 2));
}

#[test]
fn a_file_that_is_new_or_changed_is_put() {
    let before = [file("docker/nginx.conf", "a")];
    let now = [file("docker/nginx.conf", "changed"), file("host/all.conf", "b")];
    let meant = meaning(&now, &taken_in(&before), &BTreeMap::new());
    let put: Vec<_> = meant
        .edits
        .iter()
        .map(|(edit, file)| (matches!(edit, Edit::Put { .. }), file.path.as_str()))
        .collect();
    assert_eq!(put, [(true, "docker/nginx.conf"), (true, "host/all.conf")]);
}

#[test]
fn a_file_that_is_gone_deletes_only_what_came_from_it() {
    let before = [file("docker/nginx.conf", "a"), file("docker/redis.conf", "b")];
    let mut stored = taken_in(&before);
    let over = stored.origins[&docker("redis")].file().cloned();
    stored.origins.insert(docker("redis"), Origin::Api(over));
    let meant = meaning(&[], &stored, &BTreeMap::new());
    let expected = Edit::Delete { key: docker("nginx"), expect: Expect::At(Revision(4)) };
    assert_eq!(meant.edits.into_iter().map(|(edit, _)| edit).collect::<Vec<_>>(), [expected]);
}

#[test]
fn a_page_edit_over_a_file_stays_until_the_file_changes() {
    let before = [file("docker/nginx.conf", "a")];
    let mut stored = taken_in(&before);
    let over = stored.origins[&docker("nginx")].file().cloned();
    stored.origins.insert(docker("nginx"), Origin::Api(over));
    stored.fleet.documents.get_mut(&docker("nginx")).unwrap().text = "by the page".into();
    assert!(meaning(&before, &stored, &BTreeMap::new()).edits.is_empty());
    assert_eq!(meaning(&[file("docker/nginx.conf", "b")], &stored, &BTreeMap::new()).edits.len(), 1);
}

#[test]
fn a_file_that_was_refused_is_not_tried_again_until_it_changes() {
    let broken = [file("docker/nginx.conf", "broken")];
    let tried = BTreeMap::from([("docker/nginx.conf".to_owned(), hash("broken"))]);
    assert!(meaning(&broken, &StoredFleet::default(), &tried).edits.is_empty());
    let fixed = [file("docker/nginx.conf", "fixed")];
    assert_eq!(meaning(&fixed, &StoredFleet::default(), &tried).edits.len(), 1);
}

#[test]
fn two_files_about_one_config_are_a_problem_and_the_first_one_counts() {
    let files = [file("docker/web%2Fnginx.conf", "a"), file("docker/web/nginx.conf", "b")];
    let meant = meaning(&files, &StoredFleet::default(), &BTreeMap::new());
    assert_eq!(meant.edits.len(), 1);
    let why = "`docker/web%2Fnginx.conf` is about the same config; remove one of them".to_owned();
    assert_eq!(meant.unusable, [("docker/web/nginx.conf".to_owned(), why)]);
}

#[test]
fn a_renamed_file_keeps_its_config() {
    let stored = taken_in(&[file("docker/web%2Fnginx.conf", "a")]);
    let meant = meaning(&[file("docker/web/nginx.conf", "a")], &stored, &BTreeMap::new());
    assert!(matches!(&meant.edits[..], [(Edit::Put { .. }, _)]), "{meant:?}");
}

#[test]
fn a_directory_that_cannot_be_read_is_an_error_and_not_an_empty_one() {
    assert!(read(Path::new("/nonexistent/configs")).unwrap_err().contains("cannot be read"));
}

#[test]
fn files_are_found_in_all_folders_for_images_and_in_one_for_hosts() {
    let dir = tempfile::tempdir().unwrap();
    for (path, text) in [
        ("docker/nginx.conf", "1"),
        ("docker/web/deep/nginx.conf", "2"),
        ("docker/web/.nginx.conf.swp", "3"),
        ("docker/notes.txt", "4"),
        ("host/all.conf", "5"),
        ("host/deep/not.conf", "6"),
    ] {
        let path = dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let found: Vec<String> = read(dir.path()).unwrap().files.into_iter().map(|file| file.path).collect();
    assert_eq!(found, ["docker/nginx.conf", "docker/web/deep/nginx.conf", "host/all.conf"]);
}

/// What is to be deleted, and what is said, when only `files` are left of `before` in these folders.
fn doubted(before: &[Found], files: &[Found], folders: &[Kind]) -> (usize, Vec<(String, String)>) {
    let listing = Listing { files: files.to_vec(), folders: folders.iter().copied().collect() };
    let meant = doubt(meaning(files, &taken_in(before), &BTreeMap::new()), &listing);
    (meant.edits.len(), meant.unusable)
}

#[test]
fn a_folder_that_is_gone_deletes_nothing_and_is_told() {
    let before = [file("docker/nginx.conf", "a"), file("host/all.conf", "b"), file("host/more.conf", "c")];
    let (edits, told) = doubted(&before, &[], &[]);
    assert_eq!(edits, 0);
    let paths: Vec<&str> = told.iter().map(|(path, _)| path.as_str()).collect();
    assert_eq!(paths, ["docker/", "host/"]);
    assert!(told[0].1.starts_with("1 config from files stay as they were: this folder is gone"), "{told:?}");
}

#[test]
fn files_that_are_all_gone_at_once_stay_in_force_and_it_is_told() {
    let before = [file("docker/nginx.conf", "a"), file("docker/redis.conf", "b"), file("host/all.conf", "c")];
    let (edits, told) = doubted(&before, &before[2..], &[Kind::Docker, Kind::Host]);
    assert_eq!((edits, told.len()), (0, 1));
    assert!(told[0].1.contains("2 configs from files stay as they were"), "{told:?}");
}

#[test]
fn files_that_are_gone_one_by_one_or_while_others_are_there_are_deleted() {
    let before = [file("docker/nginx.conf", "a"), file("docker/redis.conf", "b"), file("docker/x.conf", "c")];
    let both = [Kind::Docker, Kind::Host];
    assert_eq!(doubted(&before, &before[..1], &both), (2, vec![]));
    assert_eq!(doubted(&before[..1], &[], &both), (1, vec![]));
}

#[test]
fn files_that_were_all_renamed_are_known_again() {
    let before = [file("docker/a%2Fx.conf", "a"), file("docker/a%2Fy.conf", "b")];
    let now = [file("docker/a/x.conf", "a"), file("docker/a/y.conf", "b")];
    assert_eq!(doubted(&before, &now, &[Kind::Docker]), (2, vec![]));
}

#[test]
fn what_is_no_regular_file_is_told_and_not_opened() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("docker")).unwrap();
    let pipe = dir.path().join("docker/nginx.conf");
    rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR).unwrap();
    let listing = read(dir.path()).unwrap();
    let why = listing.files[0].text.clone().unwrap_err();
    assert!(why.contains("not a regular file"), "{why}");
    assert_eq!(listing.folders, BTreeSet::from([Kind::Docker]));
}

#[test]
fn a_link_to_a_file_is_read_and_a_link_back_up_ends() {
    let dir = tempfile::tempdir().unwrap();
    let docker = dir.path().join("docker");
    fs::create_dir_all(docker.join("web")).unwrap();
    fs::write(docker.join("web/nginx.conf"), "1").unwrap();
    symlink("web/nginx.conf", docker.join("linked.conf")).unwrap();
    symlink("..", docker.join("web/up")).unwrap();
    symlink("web", docker.join("also")).unwrap();
    let files = read(dir.path()).unwrap().files;
    let seen: Vec<_> = files.iter().map(|file| (file.path.as_str(), file.text.is_ok())).collect();
    let expected = [
        ("docker/also", false),
        ("docker/linked.conf", true),
        ("docker/web/nginx.conf", true),
        ("docker/web/up", false),
    ];
    assert_eq!(seen, expected);
}

#[test]
fn a_linked_folder_from_elsewhere_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("docker")).unwrap();
    fs::write(elsewhere.path().join("nginx.conf"), "1").unwrap();
    symlink(elsewhere.path(), dir.path().join("docker/team")).unwrap();
    let files = read(dir.path()).unwrap().files;
    assert_eq!(files[0].path, "docker/team/nginx.conf");
    assert_eq!(files[0].text.as_deref(), Ok("1"));
}

#[test]
fn a_file_that_is_too_long_is_told_with_its_size() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("host")).unwrap();
    for (name, size) in [("fits", TEXT_MAX), ("long", TEXT_MAX + 1)] {
        fs::write(dir.path().join(format!("host/{name}.conf")), "#".repeat(size)).unwrap();
    }
    let files = read(dir.path()).unwrap().files;
    assert!(files[0].text.is_ok());
    assert_eq!(files[1].text, Err("it has 1000001 bytes; at most 1000000 are allowed".to_owned()));
}

proptest! {
    #[test]
    fn any_file_name_is_a_key_or_a_reason(name in ".{0,30}") {
        drop(key_of(Kind::Docker, &format!("docker/{name}.conf")));
    }

    #[test]
    fn percent_encoding_of_any_text_is_decoded_again(text in ".{0,20}") {
        let encoded: String = text.bytes().map(|byte| format!("%{byte:02X}")).collect();
        prop_assert_eq!(percent_decoded(&encoded), Some(text));
    }
}
