//! Checks what a node makes of assignments and containers, without Docker.
use super::*;
use crate::tail::SpoolRules;
use bollard::Docker;
use config::document::Document;
use config::settings::SpoolFull;
use tokio::sync::Notify;

fn node(dir: &tempfile::TempDir) -> Node {
    Node::new(Place {
        spools: SpoolRules { dir: dir.path().to_owned(), cap: 100_000, full: SpoolFull::Wait },
        pipelines: dir.path().to_owned(),
        host: "node-7".into(),
        stirred: Arc::new(Notify::new()),
    })
}

fn assignment(documents: &[(Kind, &str, &str)]) -> Assignment {
    let documents = documents.iter().map(|(kind, name, text)| {
        let document = Document { text: (*text).to_owned(), revision: Revision(3) };
        (Key { kind: *kind, name: (*name).to_owned() }, document)
    });
    Assignment { revision: Revision(3), documents: documents.collect() }
}

fn seen(images: &[(&str, &str)]) -> Seen {
    let container =
        |image: &str| Container { name: "n".into(), image: image.into(), running: true, ended: None };
    let containers = images.iter().map(|(id, image)| ((*id).to_owned(), container(image)));
    Seen {
        docker: None,
        detail: "there is no socket".into(),
        listed: false,
        containers: Arc::new(containers.collect()),
    }
}

#[tokio::test]
async fn without_docker_an_assignment_is_applied_and_the_reason_reported() {
    let dir = tempfile::tempdir().unwrap();
    let mut node = node(&dir);
    assert_eq!(node.applied(), None, "there is no assignment yet");
    node.assign(&assignment(&[(Kind::Docker, "nginx", "input { }"), (Kind::Host, "bad", "input {")]));
    assert_eq!(node.applied(), None, "nothing is known about Docker yet");
    node.see(seen(&[]));
    let applied = node.applied().unwrap();
    assert_eq!(applied.revision, Revision(3));
    assert_eq!(applied.failures.len(), 1);
    assert_eq!(applied.failures[0].key.name, "bad");
    let report = node.report();
    assert_eq!((report.docker_reachable, report.docker_detail.as_str()), (false, "there is no socket"));
}

#[tokio::test]
async fn a_container_without_a_config_is_reported_as_not_matched() {
    let dir = tempfile::tempdir().unwrap();
    let mut node = node(&dir);
    node.see(seen(&[("c1", "redis")]));
    assert!(node.report().containers[0].reason.contains("waiting for the first configuration"));
    node.assign(&assignment(&[(Kind::Docker, "nginx", "input { }")]));
    let report = node.report();
    assert_eq!(report.containers[0].state, ContainerState::NotMatched);
    assert_eq!(report.containers[0].reason, "no docker config matches its image");
}

/// A container a minute for a week, and nobody there to report it to.
#[tokio::test]
async fn what_came_and_went_for_days_is_in_the_totals_and_takes_no_room() {
    let dir = tempfile::tempdir().unwrap();
    let mut node = node(&dir);
    node.assign(&assignment(&[(Kind::Docker, "nginx", "input { }"), (Kind::Host, "bad", "input {")]));
    let docker = Docker::connect_with_http("127.0.0.1:1", 1, bollard::API_DEFAULT_VERSION).unwrap();
    const COUNT: u64 = 7 * 24 * 60;
    for n in 0..COUNT {
        let id = format!("c{n}");
        let there = seen(&[(&id, "redis")]);
        node.see(Seen { docker: Some(docker.clone()), listed: true, ..there });
        let counters = Counters {
            events_in: 10,
            events_out: 8,
            dropped_lines: 2,
            dead_letters: 1,
            ..Counters::default()
        };
        node.unit_ended(&UnitId::Container(id), counters);
    }
    let report = node.report();
    let total = report.counters;
    assert_eq!((total.events_in, total.events_out), (COUNT * 10, COUNT * 8));
    assert_eq!((total.dropped_lines, total.dead_letters), (COUNT * 2, COUNT));
    assert_eq!(node.applied().unwrap().failures.len(), 1, "what cannot be applied is still told");
    assert!(report.containers.len() <= 1 && report.pipelines.len() <= 1, "{report:?}");
    assert!(node.units.len() <= 1 && node.to_finish.is_empty() && node.missed.is_empty());
}

#[tokio::test]
async fn an_idle_node_is_drained_at_once_and_applies_nothing_more() {
    let dir = tempfile::tempdir().unwrap();
    let mut node = node(&dir);
    assert!(!node.is_drained());
    node.drain(Instant::now());
    assert!(node.is_drained());
    node.assign(&assignment(&[(Kind::Host, "gen", "input { generator { } } output { null { } }")]));
    assert!(node.is_drained());
}

#[test]
fn what_was_given_in_confidence_is_not_in_the_environment_of_configurations() {
    assert_eq!(environment("LOGHERD_CONTROL_TOKEN"), None);
    assert_eq!(environment("LOGHERD_CONTROL_IDENTITY"), None);
    assert_eq!(environment("MESOS_EXECUTOR_AUTHENTICATION_TOKEN"), None);
}

#[test]
fn a_container_streams_only_while_a_file_of_it_is_open() {
    let tail =
        |path: &str, state: TailState| TailStatus { path: path.into(), state, ..TailStatus::default() };
    let view = |tails: &[TailStatus]| View {
        settled: Some(Hash([0; 32])),
        works: true,
        tails: tails.to_vec(),
        ..View::default()
    };
    let (reads, waits) = (TailState::Reading(String::new()), TailState::Waiting("no such file".into()));
    let waiting = [tail("/x", TailState::Starting), tail("/var/log/x", waits)];
    let state = state_of(&view(&waiting));
    assert_eq!(state, (ContainerState::Error, "waiting for /var/log/x: no such file".to_owned()));
    let state = state_of(&view(&[waiting[1].clone(), tail("/y", reads.clone())]));
    assert_eq!(state.0, ContainerState::Streaming, "one file is read");
    let state = state_of(&view(&waiting[..1]));
    assert_ne!(state.0, ContainerState::Streaming, "nothing is known yet: {}", state.1);
    assert_ne!(state_of(&View::default()).0, ContainerState::Streaming);
    let stuck = TailStatus { held_up: "cannot read spool".into(), ..tail("/y", reads) };
    assert_eq!(state_of(&view(&[stuck])), (ContainerState::Error, "/y: cannot read spool".to_owned()));
    assert_eq!(state_of(&view(&[])).0, ContainerState::Streaming, "its inputs are no files");
}

#[tokio::test]
async fn the_spool_of_a_container_that_is_gone_is_kept_a_day_for_a_config_and_then_removed_and_counted() {
    let dir = tempfile::tempdir().unwrap();
    let mut node = node(&dir);
    let identity = Identity {
        container: "gone".into(),
        name: "n".into(),
        image: "nginx".into(),
        path: "/l".into(),
        nth: 0,
    };
    let file = dir.path().join("s.spool");
    crate::spool::Spool::open(&file, &identity, 10_000, 0).unwrap().push(b"one\ntwo\nhalf").unwrap();
    node.see(Seen { listed: true, docker: Docker::connect_with_http_defaults().ok(), ..seen(&[]) });
    let look = |node: &mut Node| {
        let known = node.known_containers().unwrap();
        node.found(crate::leftovers::survey(dir.path(), |id| known.contains(id)), false);
    };
    look(&mut node);
    assert_eq!(node.to_finish.len(), 1, "before the first assignment nothing is known to be unwanted");
    node.assign(&assignment(&[]));
    assert_eq!(node.to_finish.len(), 0);
    look(&mut node);
    let note = std::fs::File::open(file.with_extension("unwanted")).unwrap();
    look(&mut node);
    assert!(file.exists() && node.past.dropped_lines == 0);
    note.set_modified(std::time::SystemTime::now() - KEEP_UNWANTED).unwrap();
    look(&mut node);
    assert_eq!(node.report().counters.dropped_lines, 3);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

/// Waits until `holds`; fails after a while.
async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let mut tick = tokio::time::interval(Duration::from_millis(10));
    let waited = tokio::time::timeout(Duration::from_secs(30), async {
        while !holds() {
            tick.tick().await;
        }
    });
    assert!(waited.await.is_ok(), "never: {what}");
}

/// What the pipeline of a unit counted until now.
fn counted(node: &Node, container: &str) -> Counters {
    node.units.get(&UnitId::Container(container.into())).map(|unit| unit.view().counters).unwrap_or_default()
}

#[tokio::test]
async fn an_assignment_while_every_output_is_down_restarts_only_what_it_changes_and_loses_nothing() {
    const LINES: usize = 50;
    let dir = tempfile::tempdir().unwrap();
    let mut node = node(&dir);
    // Nobody listens there for now.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    for image in ["a", "b"] {
        let (container, name, path) = (image.to_owned(), "n".into(), "/l".into());
        let identity = Identity { container, name, image: image.into(), path, nth: 0 };
        let file = node.place.spools.file(&identity);
        let lines: String = (0..LINES).map(|nth| format!("{nth}\n")).collect();
        crate::spool::Spool::open(&file, &identity, 10_000, 0).unwrap().push(lines.as_bytes()).unwrap();
    }
    let input = "input { file { docker-path => '/l' } }";
    let changed = format!("{input} filter {{ mutate {{ add_field => {{ 'of' => 'new' }} }} }}");
    let output = format!(
        "output {{ tcp {{ host => '127.0.0.1' port => {port}
           codec => line {{ format => '%{{[container][id]}} %{{message}} %{{of}}' }} }} }}"
    );
    let documents = |a: &str| {
        assignment(&[(Kind::Docker, "a", a), (Kind::Docker, "b", input), (Kind::Host, "out", &output)])
    };
    node.see(Seen { listed: true, docker: Docker::connect_with_http_defaults().ok(), ..seen(&[]) });
    node.assign(&documents(input));
    node.found(crate::leftovers::survey(dir.path(), |_| false), true);
    let failed = |node: &Node, id: &str, times: u64| counted(node, id).retries >= times;
    until("both wait for the output", || failed(&node, "a", 2) && failed(&node, "b", 2)).await;
    node.assign(&documents(&changed));
    until("the changed one has begun anew", || counted(&node, "a").events_in == 2 * LINES as u64).await;
    until("both are tried again", || failed(&node, "a", 5) && failed(&node, "b", 5)).await;
    assert_eq!(counted(&node, "b").events_in, LINES as u64, "the other one was left alone");

    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    let mut got = Vec::new();
    let mut expected: Vec<String> =
        (0..LINES).flat_map(|nth| [format!("a {nth} new"), format!("b {nth} %{{of}}")]).collect();
    expected.sort();
    while got.len() < expected.len() {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut text = Vec::new();
        tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut text).await.unwrap();
        got.extend(String::from_utf8(text).unwrap().lines().map(str::to_owned));
    }
    got.sort();
    assert_eq!(got, expected, "each line once, as its configuration says");
}

#[tokio::test]
async fn what_a_replaced_pipeline_took_from_the_network_is_delivered_beside_its_successor() {
    use tokio::io::{AsyncBufReadExt, AsyncWriteExt};
    const LINES: u64 = 200;
    let port = || std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let (from, to) = (port(), port());
    let dir = tempfile::tempdir().unwrap();
    let mut node = node(&dir);
    let text = |version: &str| {
        format!(
            "input {{ tcp {{ host => '127.0.0.1' port => {from} dns_reverse_lookup_enabled => false }} }}
             output {{ tcp {{ host => '127.0.0.1' port => {to}
               codec => line {{ format => '%{{message}} {version}' }} }} }}"
        )
    };
    let send = async |lines: std::ops::Range<u64>| {
        let mut stream = loop {
            match tokio::net::TcpStream::connect(("127.0.0.1", from)).await {
                Ok(stream) => break stream,
                Err(_) => tokio::task::yield_now().await,
            }
        };
        let lines: String = lines.map(|nth| format!("{nth}\n")).collect();
        stream.write_all(lines.as_bytes()).await.unwrap();
    };
    let counted =
        |node: &Node| node.units.get(&UnitId::Host).map(|unit| unit.view().counters).unwrap_or_default();
    node.see(seen(&[]));
    node.assign(&assignment(&[(Kind::Host, "h", &text("old"))]));
    send(0..LINES).await;
    until("all were taken", || counted(&node).events_in == LINES).await;
    node.assign(&assignment(&[(Kind::Host, "h", &text("new"))]));
    until("the new one runs", || {
        let view = node.units.get(&UnitId::Host).map(|unit| unit.view());
        view.is_some_and(|view| view.settled == node.documents.for_host().map(|wanted| wanted.hash))
    })
    .await;
    send(LINES..LINES + 1).await;
    until("the new one has taken its line", || counted(&node).events_in == LINES + 1).await;

    let listener = tokio::net::TcpListener::bind(("127.0.0.1", to)).await.unwrap();
    let (lines_in, mut lines) = tokio::sync::mpsc::channel(1000);
    let mut readers = tokio::task::JoinSet::new();
    readers.spawn(async move {
        let mut each = tokio::task::JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            let lines_in = lines_in.clone();
            each.spawn(async move {
                let mut read = tokio::io::BufReader::new(stream).lines();
                while let Ok(Some(line)) = read.next_line().await {
                    lines_in.send(line).await.unwrap();
                }
            });
        }
    });
    let mut got = Vec::new();
    while got.len() < LINES as usize + 1 {
        let line = tokio::time::timeout(Duration::from_secs(30), lines.recv()).await;
        got.push(line.unwrap().unwrap());
    }
    let mut expected: Vec<String> = (0..LINES).map(|nth| format!("{nth} old")).collect();
    expected.push(format!("{LINES} new"));
    got.sort();
    expected.sort();
    assert_eq!(got, expected);
    assert_eq!(counted(&node).dropped_lines, 0);
}

#[tokio::test]
async fn containers_that_ended_unwatched_are_looked_at_once_there_is_a_config_for_them() {
    let dir = tempfile::tempdir().unwrap();
    let mut node = node(&dir);
    let at = |text: &str| Some(text.parse().unwrap());
    let ended =
        |image: &str, ended| Container { name: "n".into(), image: image.into(), running: false, ended };
    let containers = [
        ("earlier", ended("nginx", at("2026-01-01T00:00:00Z"))),
        ("missed", ended("nginx", at("2026-01-03T00:00:00Z"))),
        ("other", ended("redis", at("2026-01-03T00:00:00Z"))),
        ("unknown", ended("nginx", None)),
    ];
    let containers: BTreeMap<_, _> = containers.into_iter().map(|(id, c)| (id.to_owned(), c)).collect();
    let docker = Docker::connect_with_http_defaults().ok();
    node.see(Seen { listed: true, docker, detail: String::new(), containers: Arc::new(containers) });
    node.look_for_missed("2026-01-02T00:00:00Z".parse().unwrap());
    assert!(!node.is_caught_up(), "nothing can be decided before the first assignment");
    node.assign(&assignment(&[
        (Kind::Docker, "nginx", "input { file { docker-path => '/l' } }"),
        (Kind::Host, "out", "output { null { } }"),
    ]));
    let units: Vec<_> = node.units.keys().cloned().collect();
    assert_eq!(units, [UnitId::Container("missed".into())]);
    assert!(!node.is_caught_up(), "it is not shipped yet");
    node.unit_ended(&units[0], Counters::default());
    assert!(node.is_caught_up());
}
