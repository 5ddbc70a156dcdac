//! Story: how `logherd run` ends, which is what scripts look at: 0 when its input has ended, 78 for a bad configuration, 1 when
//! the work fails.

use crate::world::{World, binary};
use std::io::Write as _;
use std::process::{Command, Output, Stdio};

/// Runs `logherd run` with that on its standard input, to its end.
fn run(world: &World, input: &str, arguments: &[&str]) -> Output {
    let mut command = Command::new(binary());
    command.args(["run", "--api-enabled=false"]).args(arguments).env("LOGHERD_DATA_DIR", world.path("data"));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let text = input.to_owned();
    // One that does not read to the end closes its side.
    let writer = std::thread::spawn(move || drop(stdin.write_all(text.as_bytes())));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    output
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn it_ends_with_0_when_standard_input_has_ended_and_prints_events_alone() {
    let world = World::new().await;
    let lines: String = (1..=50_000).map(|n| format!("line {n}\n")).collect();
    let config = r#"input { stdin { } } output { stdout { codec => line { format => "%{message}" } } }"#;
    let ended = run(&world, &(lines.clone() + "the last, without an end"), &["-e", config]);
    assert_eq!(ended.status.code(), Some(0), "{}", text(&ended.stderr));
    assert_eq!(text(&ended.stdout), lines + "the last, without an end\n", "in order, nothing else");

    let ended = run(&world, "one\n", &["-e", "filter { mutate { add_field => { a => 1 } } }"]);
    assert_eq!(ended.status.code(), Some(0), "{}", text(&ended.stderr));
    assert!(text(&ended.stdout).contains(r#""message" => "one""#), "as rubydebug: {}", text(&ended.stdout));
    let ended = run(&world, "", &["-e", config]);
    assert_eq!((ended.status.code(), text(&ended.stdout)), (Some(0), String::new()));
}

#[tokio::test(flavor = "multi_thread")]
async fn it_ends_with_78_and_every_problem_when_the_configuration_is_bad_and_starts_nothing() {
    let world = World::new().await;
    let out = world.path("out.log").display().to_string();
    let config = format!(
        r#"input {{ stdin {{ }} generator {{ count => many }} }} filter {{ grook {{ }} }}
        output {{ file {{ path => "{out}" }} }}"#
    );
    let ended = run(&world, "one\n", &["-e", &config]);
    let said = text(&ended.stderr);
    assert_eq!(ended.status.code(), Some(78), "{said}");
    assert!(said.contains("count") && said.contains("grook") && said.contains("grok"), "{said}");
    assert!(ended.stdout.is_empty() && !world.path("out.log").exists(), "{said}");

    for (arguments, says) in [
        (vec!["-f", "/nowhere/at/all.conf"], "/nowhere/at/all.conf"),
        (vec!["-e", "input {"], "error"),
        (vec!["-e", r#"filter { grok { match => { message => "%{NOPE:x}" } } }"#], "NOPE"),
    ] {
        let ended = run(&world, "", &arguments);
        assert_eq!(ended.status.code(), Some(78), "{arguments:?}: {}", text(&ended.stderr));
        assert!(text(&ended.stderr).contains(says), "{arguments:?}: {}", text(&ended.stderr));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_ends_with_1_and_the_reason_when_the_work_fails() {
    let world = World::new().await;
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let config =
        format!(r#"input {{ tcp {{ host => "127.0.0.1" port => {port} }} }} output {{ null {{ }} }}"#);
    let ended = run(&world, "", &["-e", &config]);
    let said = text(&ended.stderr);
    assert_eq!(ended.status.code(), Some(1), "{said}");
    assert!(said.contains(&port.to_string()), "{said}");

    let file = world.path("no-directory");
    std::fs::write(&file, "").unwrap();
    let data = file.join("data").display().to_string();
    let config = world.follows("in.txt") + " output { null { } }";
    let ended = run(&world, "", &["-e", &config, "--data-dir", &data]);
    assert_eq!(ended.status.code(), Some(1), "{}", text(&ended.stderr));

    let ended = run(&world, "", &["--no-such-setting"]);
    assert_eq!(ended.status.code(), Some(2), "{}", text(&ended.stderr));
}
