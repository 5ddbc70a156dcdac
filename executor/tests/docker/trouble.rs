//! What goes wrong around the executor costs no line and is told.
use crate::world::{Executor, Image, World, docker, docker_is_there, eventually, messages};
use proto::control as wire;
use proto::mesos::v1::TaskState;
use std::path::{Path, PathBuf};
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio::task::JoinSet;

#[tokio::test(flavor = "multi_thread")]
async fn a_container_without_sh_is_read_and_nothing_is_left_in_it() {
    if !docker_is_there() {
        return;
    }
    let (world, image) = (World::new().await, Image::with_only(&["tail", "sleep"]));
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("a.log"), "one\n").unwrap();
    let container = image.run_argv(&["sleep", "1000"]);
    docker(&["cp", dir.path().join("a.log").to_str().unwrap(), &format!("{}:/a.log", container.0)]);
    let out = world.assign_path(&image, "/a.log");
    let executor = Executor::start(&world);
    eventually("the line", || (messages(&out) == ["one"]).then_some(())).await;
    executor.stop().await;
    eventually("its tail is gone", || (container.processes() == ["sleep 1000"]).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_with_neither_sh_nor_tail_is_an_error_that_names_it_and_others_go_on() {
    if !docker_is_there() {
        return;
    }
    let (world, image) = (World::new().await, Image::with_only(&["sleep"]));
    let container = image.run_argv(&["sleep", "1000"]);
    let out = world.assign_path(&image, "/a.log");
    let executor = Executor::start(&world);
    let seen = world.container(&container, |c| c.state() == wire::container::State::Error).await;
    assert!(seen.reason.contains("neither `sh` nor `tail`"), "{}", seen.reason);
    assert_eq!(messages(&out), Vec::<String>::new(), "the complaint is no log line");
    executor.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_whose_file_is_not_there_is_an_error_that_says_so_until_the_file_appears() {
    if !docker_is_there() {
        return;
    }
    let (world, image) = (World::new().await, Image::busybox());
    let out = world.assign_path(&image, "/var/log/a.log");
    let container = image.run("mkdir -p /var/log; exec sleep 1000");
    let executor = Executor::start(&world);
    let seen = world.container(&container, |c| c.state() == wire::container::State::Error).await;
    assert_eq!(seen.reason, "waiting for /var/log/a.log: no such file");
    container.exec("touch /var/log/a.log");
    world.container(&container, |c| c.state() == wire::container::State::Streaming).await;
    container.exec("echo one >> /var/log/a.log");
    eventually("the line", || (messages(&out) == ["one"]).then_some(())).await;
    container.exec("rm /var/log/a.log");
    world.container(&container, |c| c.state() == wire::container::State::Error).await;
    executor.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_ran_wholly_while_no_executor_did_is_read_once_and_nothing_is_on_the_first_run() {
    if !docker_is_there() {
        return;
    }
    let (world, image) = (World::new().await, Image::busybox());
    let out = world.assign_path(&image, "/a.log");
    let earlier = image.run("echo earlier > /a.log");
    docker(&["wait", &earlier.0]);
    let executor = Executor::start(&world);
    let alive = world.dir.path().join("data/alive");
    eventually("a sign of life", || alive.exists().then_some(())).await;
    executor.stop().await;
    let missed = image.run("echo missed > /a.log");
    docker(&["wait", &missed.0]);
    for _ in 0..2 {
        let before = std::fs::metadata(&alive).unwrap().modified().unwrap();
        let executor = Executor::start(&world);
        eventually("its line", || (messages(&out) == ["missed"]).then_some(())).await;
        let later = || std::fs::metadata(&alive).unwrap().modified().unwrap() > before;
        eventually("it has caught up", || later().then_some(())).await;
        executor.stop().await;
        world.forget_states();
    }
    assert_eq!(messages(&out), ["missed"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_document_is_named_and_the_others_are_applied() {
    if !docker_is_there() {
        return;
    }
    let (world, image) = (World::new().await, Image::busybox());
    let out = world.dir.path().join("out.json");
    let output = format!("output {{ file {{ path => \"{}\" codec => json_lines }} }}", out.display());
    let input = "input { file { docker-path => '/var/log/a.log' } }";
    world.assign(&[
        (wire::Kind::Docker, &image.0, input),
        (wire::Kind::Docker, "other", "input { fiel { } }"),
        (wire::Kind::Host, "out", &output),
    ]);
    let _container = image.run("mkdir -p /var/log; echo one > /var/log/a.log; exec sleep 1000");
    let executor = Executor::start(&world);
    let failures = world.applied().await;
    assert_eq!(failures.len(), 1);
    assert_eq!((failures[0].name.as_str(), failures[0].kind()), ("other", wire::Kind::Docker));
    assert!(failures[0].reason.starts_with("line 1, column 9"), "{}", failures[0].reason);
    eventually("the line", || (messages(&out) == ["one"]).then_some(())).await;
    executor.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_spool_stops_reading_and_never_grows_beyond_its_cap() {
    if !docker_is_there() {
        return;
    }
    let (mut world, image) = (World::new().await, Image::busybox());
    world.settings.collecting.spool_max = "200KB".parse().unwrap();
    // Nobody listens there: nothing is ever acknowledged.
    let input = "input { file { docker-path => '/var/log/a.log' } }";
    let output = "output { elasticsearch { hosts => ['http://127.0.0.1:1'] } }";
    world.assign(&[(wire::Kind::Docker, &image.0, input), (wire::Kind::Host, "out", output)]);
    let container = image.run("mkdir -p /var/log; seq 1 500000 > /var/log/a.log; exec sleep 1000");
    let executor = Executor::start(&world);
    let full = |c: &wire::Container| c.tails.iter().any(|t| t.state == "waiting for room in the spool");
    let seen = world.container(&container, full).await;
    assert!(seen.tails[0].spool_bytes <= 200_000 && seen.tails[0].acknowledged_position == 0);
    for entry in std::fs::read_dir(world.dir.path().join("data/spools")).unwrap() {
        assert!(entry.unwrap().metadata().unwrap().len() < 200_000 + 13_000);
    }
    executor.stop().await;
    assert_eq!(container.processes(), ["sleep 1000"], "a tail that waits is ended too");
}

/// A way to the Docker daemon that can be cut.
struct Way {
    path: PathBuf,
    tasks: JoinSet<()>,
}

impl Way {
    fn open(path: &Path) -> Self {
        let listener = UnixListener::bind(path).unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((near, _)) = listener.accept().await {
                connections.spawn(carry(near));
            }
        });
        Self { path: path.to_owned(), tasks }
    }

    async fn cut(mut self) {
        self.tasks.shutdown().await;
        std::fs::remove_file(&self.path).unwrap();
    }
}

/// Carries bytes between a connection and the Docker daemon.
async fn carry(mut near: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin) {
    let docker_host = config::settings::environment("DOCKER_HOST");
    let docker_host = docker_host.unwrap_or_else(|| "unix:///var/run/docker.sock".to_owned());
    let mut far = UnixStream::connect(docker_host.strip_prefix("unix://").unwrap()).await.unwrap();
    drop(tokio::io::copy_bidirectional(&mut near, &mut far).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_may_listen_on_tcp() {
    if !docker_is_there() {
        return;
    }
    let (mut world, image) = (World::new().await, Image::busybox());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    world.settings.collecting.docker_host = format!("tcp://{}", listener.local_addr().unwrap());
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((near, _)) = listener.accept().await {
            connections.spawn(carry(near));
        }
    });
    let out = world.assign_path(&image, "/var/log/a.log");
    let container = image.run("mkdir -p /var/log; echo one > /var/log/a.log; exec sleep 1000");
    let executor = Executor::start(&world);
    eventually("the line", || (messages(&out) == ["one"]).then_some(())).await;
    executor.stop().await;
    assert_eq!(container.processes(), ["sleep 1000"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_goes_and_comes_back_is_a_state_and_costs_no_line() {
    if !docker_is_there() {
        return;
    }
    let (mut world, image) = (World::new().await, Image::busybox());
    let socket = world.dir.path().join("docker.sock");
    world.settings.collecting.docker_host = format!("unix://{}", socket.display());
    let out = world.assign_path(&image, "/var/log/a.log");
    let executor = Executor::start(&world);
    assert_eq!(world.applied().await, [], "without a daemon the assignment is applied all the same");
    let reachable = || world.heard(|heard| heard.report.docker.clone()).filter(|docker| docker.reachable);
    assert_eq!(reachable(), None);
    let (stays, goes) = (
        image.run("mkdir -p /var/log; echo one > /var/log/a.log; exec sleep 1000"),
        image.run("mkdir -p /var/log; exec sleep 1000"),
    );
    let way = Way::open(&socket);
    eventually("the line", || (messages(&out) == ["one"]).then_some(())).await;
    world.container(&goes, |c| !c.tails.is_empty()).await;
    way.cut().await;
    eventually("the daemon is reported as gone", || reachable().is_none().then_some(())).await;
    goes.remove();
    stays.exec("echo two >> /var/log/a.log");
    let way = Way::open(&socket);
    eventually("the line written meanwhile, once", || (messages(&out) == ["one", "two"]).then_some(())).await;
    eventually("the vanished container is ended", || {
        world.heard(|heard| heard.report.containers.iter().all(|c| c.id != goes.0)).then_some(())
    })
    .await;
    executor.stop().await;
    assert_eq!(stays.tails_of("/var/log/a.log"), 0);
    way.cut().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_scheduler_the_stored_assignment_goes_on() {
    if !docker_is_there() {
        return;
    }
    let (mut world, image) = (World::new().await, Image::busybox());
    let out = world.assign_path(&image, "/var/log/a.log");
    let container = image.run("mkdir -p /var/log; echo one > /var/log/a.log; exec sleep 1000");
    let executor = Executor::start(&world);
    eventually("the line", || (messages(&out) == ["one"]).then_some(())).await;
    executor.stop().await;
    // Nobody listens there.
    world.settings.control = "127.0.0.1:1".to_owned();
    container.exec("echo two >> /var/log/a.log");
    let executor = Executor::start(&world);
    eventually("the new line", || (messages(&out) == ["one", "two"]).then_some(())).await;
    executor.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_was_replaced_while_nobody_looked_is_read_from_its_start() {
    if !docker_is_there() {
        return;
    }
    let (world, image) = (World::new().await, Image::busybox());
    let out = world.assign_path(&image, "/var/log/a.log");
    let container = image.run("mkdir -p /var/log; echo old line > /var/log/a.log; exec sleep 1000");
    let executor = Executor::start(&world);
    eventually("the line", || (messages(&out) == ["old line"]).then_some(())).await;
    executor.stop().await;
    container.exec("echo a new and longer line > /var/log/a.log");
    let executor = Executor::start(&world);
    let both = ["old line", "a new and longer line"];
    eventually("the other file's line", || (messages(&out) == both).then_some(())).await;
    executor.stop().await;
    container.exec("echo short > /var/log/a.log");
    let executor = Executor::start(&world);
    eventually("the short file's line", || (messages(&out).last()? == "short").then_some(())).await;
    executor.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_restarts_is_subscribed_to_again_while_lines_go_on() {
    if !docker_is_there() {
        return;
    }
    let (world, image) = (World::new().await, Image::busybox());
    let out = world.assign_path(&image, "/var/log/a.log");
    let container = image.run("mkdir -p /var/log; echo one > /var/log/a.log; exec sleep 1000");
    let executor = Executor::start(&world);
    eventually("the task runs", || {
        world.heard(|heard| (heard.states.last() == Some(&TaskState::TaskRunning)).then_some(()))
    })
    .await;
    eventually("the line", || (messages(&out) == ["one"]).then_some(())).await;
    let tails = container.processes();
    world.restart_agent(&[503, 503, 404]);
    container.exec("echo two >> /var/log/a.log");
    eventually("it is subscribed again", || {
        world.heard(|heard| (heard.subscriptions.len() == 2).then_some(()))
    })
    .await;
    eventually("the new line", || (messages(&out) == ["one", "two"]).then_some(())).await;
    assert_eq!(container.processes(), tails, "its tail was left alone");
    world.restart_agent(&[400]);
    executor.ended().await;
    assert_eq!(container.processes(), ["sleep 1000"], "an orphan cleans up and ends");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_rotated_or_cut_off_while_it_is_read_is_followed_with_other_tools_than_busybox_too() {
    if !docker_is_there() {
        return;
    }
    let (world, image) = (World::new().await, Image::of_this_machine());
    let out = world.assign_path(&image, "/var/log/a.log");
    let container = image.run("exec sleep 1000");
    let executor = Executor::start(&world);
    world.container(&container, |c| c.reason == "waiting for /var/log/a.log: no such file").await;
    let mut expected = Vec::new();
    for (script, line) in [
        ("echo one > /var/log/a.log", "one"),
        ("mv /var/log/a.log /var/log/a.1; echo two > /var/log/a.log", "two"),
        ("echo 3 > /var/log/a.log", "3"),
    ] {
        container.exec(script);
        expected.push(line);
        eventually(line, || (messages(&out).last()? == line).then_some(())).await;
    }
    assert_eq!(messages(&out), expected);
    executor.stop().await;
    assert_eq!(container.processes(), ["sleep 1000"]);
    container.exec("echo four >> /var/log/a.log");
    world.forget_states();
    let executor = Executor::start(&world);
    eventually("four", || (messages(&out).last()? == "four").then_some(())).await;
    executor.stop().await;
    let mut came = messages(&out);
    // Which bytes came before `tail` said that it reads another file is not always known: those may come twice.
    came.dedup();
    assert_eq!(came, ["one", "two", "3", "four"]);
}

/// Writes lines as an application does, and has its file rotated in the middle of it: what it wrote just before, and what it
/// writes to the renamed file until it opens the new one, is in none but the renamed file, which soon is gone, too.
const ROTATES: &str = r#"
    mkdir -p /var/log; n=0
    line() { n=$((n + 1)); echo "line $n" >&5; }
    exec 5>>/var/log/a.log
    while [ $n -lt 200 ]; do
        line
        [ $((n % 10)) -ne 0 ] || sleep 0.5
        if [ $((n % 50)) -eq 25 ]; then
            line; line
            mv /var/log/a.log /var/log/a.log.1
            : >/var/log/a.log
            line; line; sleep 1; line
            exec 5>>/var/log/a.log
            rm /var/log/a.log.1
        fi
    done
    exec sleep 1000
"#;

async fn nothing_is_lost_in_rotations(image: Image) {
    let world = World::new().await;
    let out = world.assign_path(&image, "/var/log/a.log");
    let executor = Executor::start(&world);
    world.applied().await;
    let container = image.run(ROTATES);
    eventually("the last line", || (messages(&out).last()? == "line 200").then_some(())).await;
    let expected: Vec<String> = (1..=200).map(|n| format!("line {n}")).collect();
    assert_eq!(messages(&out), expected, "each line once, in order");
    executor.stop().await;
    assert_eq!(container.processes(), ["sleep 1000"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_a_renamed_file_only_is_read_before_the_new_one_with_busybox() {
    if docker_is_there() {
        nothing_is_lost_in_rotations(Image::busybox()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_a_renamed_file_only_is_read_before_the_new_one_with_other_tools() {
    if docker_is_there() {
        nothing_is_lost_in_rotations(Image::of_this_machine()).await;
    }
}
