//! Checks which pipelines are wanted for which documents and containers.
use super::*;
use config::document::Document;
use proptest::prelude::*;

const INPUT: &str = "input { file { docker-path => \"/var/log/x\" } }";
const OUTPUT: &str = "output { null { } }";

fn assignment(revision: u64, documents: &[(Kind, &str, &str)]) -> Assignment {
    let documents = documents.iter().map(|(kind, name, text)| {
        let document = Document { text: (*text).to_owned(), revision: Revision(revision) };
        (Key { kind: *kind, name: (*name).to_owned() }, document)
    });
    Assignment { revision: Revision(revision), documents: documents.collect() }
}

fn documents(texts: &[(Kind, &str, &str)]) -> Documents {
    let mut documents = Documents::default();
    documents.update(&assignment(1, texts), &|_| None);
    documents
}

fn containers(images: &[(&str, &str)]) -> BTreeMap<String, Container> {
    let container =
        |image: &str| Container { name: "n".into(), image: image.into(), running: true, ended: None };
    images.iter().map(|(id, image)| ((*id).to_owned(), container(image))).collect()
}

fn config_of(wanted: &BTreeMap<UnitId, Wanted>, id: &str) -> Option<String> {
    wanted.get(&UnitId::Container(id.to_owned()))?.config.as_ref().map(|key| key.name.clone())
}

#[test]
fn two_containers_of_one_image_are_two_pipelines_with_the_most_specific_config() {
    let documents = documents(&[
        (Kind::Docker, "*", INPUT),
        (Kind::Docker, "web/nginx", INPUT),
        (Kind::Host, "out", OUTPUT),
    ]);
    let wanted =
        wanted(&documents, &containers(&[("a", "web/nginx:1.27"), ("b", "web/nginx:1.27"), ("c", "redis")]));
    assert_eq!(config_of(&wanted, "a").as_deref(), Some("web/nginx"));
    assert_eq!(config_of(&wanted, "b").as_deref(), Some("web/nginx"));
    assert_eq!(config_of(&wanted, "c").as_deref(), Some("*"));
    assert!(wanted.values().all(|w| w.parts.is_ok()));
    assert!(!wanted.contains_key(&UnitId::Host), "no host config has an input");
}

#[test]
fn a_container_that_does_not_run_wants_nothing() {
    let documents = documents(&[(Kind::Docker, "nginx", INPUT), (Kind::Host, "out", OUTPUT)]);
    let mut containers = containers(&[("a", "nginx")]);
    containers.get_mut("a").unwrap().running = false;
    assert!(wanted(&documents, &containers).is_empty());
}

#[test]
fn without_any_output_nothing_is_read_and_the_reason_is_given() {
    let documents = documents(&[(Kind::Docker, "nginx", INPUT)]);
    let wanted = wanted(&documents, &containers(&[("a", "nginx")]));
    let reason = wanted[&UnitId::Container("a".into())].parts.as_ref().unwrap_err();
    assert_eq!(reason, NO_OUTPUT);
}

#[test]
fn an_unchanged_text_has_the_same_hash_and_a_changed_host_config_changes_all() {
    let mut documents = documents(&[
        (Kind::Docker, "nginx", INPUT),
        (Kind::Docker, "redis", INPUT),
        (Kind::Host, "out", OUTPUT),
    ]);
    let containers = containers(&[("a", "nginx"), ("b", "redis")]);
    let hashes = |documents: &Documents| {
        wanted(documents, &containers).into_values().map(|w| w.hash).collect::<Vec<_>>()
    };
    let before = hashes(&documents);
    let other = "input { file { docker-path => \"/other\" } }";
    let texts = [(Kind::Docker, "nginx", other), (Kind::Docker, "redis", INPUT), (Kind::Host, "out", OUTPUT)];
    documents.update(&assignment(2, &texts), &|_| None);
    let after = hashes(&documents);
    assert_ne!(before[0], after[0]);
    assert_eq!(before[1], after[1]);
    let texts =
        [(Kind::Docker, "nginx", other), (Kind::Docker, "redis", INPUT), (Kind::Host, "out", "output { }")];
    documents.update(&assignment(3, &texts), &|_| None);
    assert_ne!(after[1], hashes(&documents)[1]);
}

#[test]
fn a_broken_document_is_named_and_its_last_good_text_and_all_others_go_on() {
    let mut documents = documents(&[(Kind::Docker, "nginx", INPUT), (Kind::Host, "out", OUTPUT)]);
    let containers = containers(&[("a", "nginx"), ("b", "redis")]);
    let before = wanted(&documents, &containers)[&UnitId::Container("a".into())].hash;
    let texts = [
        (Kind::Docker, "nginx", "input { fiel { } }"),
        (Kind::Docker, "redis", INPUT),
        (Kind::Host, "out", OUTPUT),
    ];
    documents.update(&assignment(2, &texts), &|_| None);
    let failures = documents.failures();
    assert_eq!(failures.len(), 1);
    assert_eq!(failures[0].key.name, "nginx");
    assert!(failures[0].reason.starts_with("line 1, column 9"), "{}", failures[0].reason);
    let wanted = wanted(&documents, &containers);
    assert_eq!(wanted[&UnitId::Container("a".into())].hash, before);
    assert!(wanted[&UnitId::Container("b".into())].parts.is_ok());
}

#[test]
fn a_document_that_was_never_good_still_shadows_less_specific_ones() {
    let documents = documents(&[
        (Kind::Docker, "*", INPUT),
        (Kind::Docker, "nginx", "input {"),
        (Kind::Host, "out", OUTPUT),
    ]);
    let wanted = wanted(&documents, &containers(&[("a", "nginx")]));
    let wanted = &wanted[&UnitId::Container("a".into())];
    assert!(wanted.parts.as_ref().unwrap_err().starts_with("its config is broken: line 1"));
}

#[test]
fn host_inputs_make_one_host_pipeline() {
    let documents = documents(&[(Kind::Host, "out", OUTPUT), (Kind::Host, "in", "input { generator { } }")]);
    let wanted = wanted(&documents, &BTreeMap::new());
    assert!(wanted[&UnitId::Host].parts.is_ok());
}

proptest! {
    #[test]
    fn what_is_wanted_depends_on_nothing_but_documents_and_containers(
        texts in proptest::collection::vec(("[a-c*]{1,3}", prop_oneof![Just(INPUT), Just("input {"), Just("")]), 0..5),
        images in proptest::collection::vec("[a-c]{1,3}", 0..5),
    ) {
        let texts: Vec<_> = texts.iter().map(|(name, text)| (Kind::Docker, name.as_str(), *text)).collect();
        let ids: Vec<_> = (0..images.len()).map(|n| n.to_string()).collect();
        let images: Vec<_> = ids.iter().map(String::as_str).zip(images.iter().map(String::as_str)).collect();
        let (one, two) = (documents(&texts), documents(&texts));
        let hashes = |d: &Documents| {
            wanted(d, &containers(&images)).into_iter().map(|(id, w)| (id, w.hash.0)).collect::<Vec<_>>()
        };
        prop_assert_eq!(hashes(&one), hashes(&two));
    }
}
