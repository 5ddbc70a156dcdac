//! Story: a real rsyslog and `logger` send in every form and framing, and a real rsyslog receives.

use crate::eventually::eventually;
use crate::output::{Output, tally};
use crate::service::{Peer, accepts, program};
use crate::world::{SOON, START, World, free_port};
use serde_json::{Value, json};
use std::process::Command;

/// Starts rsyslog with that configuration and nothing else.
fn rsyslog(world: &World, name: &str, config: &str) -> Option<Peer> {
    let server = program("rsyslogd", "rsyslog")?;
    let file = world.path(&format!("{name}.conf"));
    std::fs::write(&file, config).unwrap();
    let mut command = Command::new(server);
    command.args(["-n", "-iNONE", "-f"]).arg(file);
    Some(Peer::start(world, name, command))
}

/// Runs `logger` for a message of facility local3 and severity warning, of process 42 of a program.
fn logger(arguments: &[&str], message: &str) {
    let mut command = Command::new("logger");
    command.args(["--tag", "story", "--id=42", "--priority", "local3.warning"]).args(arguments).arg(message);
    let status = command.status().unwrap();
    assert!(status.success(), "{command:?}: {status}");
}

/// The event whose message holds that text.
fn event(output: &Output, text: &str) -> Result<Value, String> {
    let all = output.events();
    let found =
        all.iter().find(|event| event["message"].as_str().is_some_and(|message| message.contains(text)));
    found.cloned().ok_or_else(|| format!("none with `{text}` in {all:#?}"))
}

/// Whether it was taken apart.
fn assert_whole(event: &Value) {
    let seen = ["priority", "facility", "severity", "facility_label", "severity_label", "program", "pid"]
        .map(|name| event[name].clone());
    let expected = json!([156, 19, 4, "local3", "Warning", "story", "42"]);
    assert_eq!(json!(seen), expected, "{event:#}");
    assert!(event["tags"].is_null() && event["logsource"].is_string(), "{event:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_of_logger_are_taken_apart_in_each_form_and_framing() {
    let world = World::new().await;
    if program("logger", "bsdutils").is_none() {
        return;
    }
    let (port, out) = (free_port().to_string(), world.path("out.json").display().to_string());
    let config = format!(
        r#"input {{ syslog {{ host => "127.0.0.1" port => {port} }} }}
        output {{ file {{ path => "{out}" codec => json_lines }} }}"#
    );
    let _run = world.run(&config, &[]).await;
    accepts("the input listens", port.parse().unwrap()).await;
    let output = world.output("out.json");
    let ways: [(&str, &[&str]); 6] = [
        ("udp-3164", &["--udp", "--rfc3164"]),
        ("tcp-3164", &["--tcp", "--rfc3164"]),
        ("tcp-3164-counted", &["--tcp", "--rfc3164", "--octet-count"]),
        ("udp-5424", &["--udp", "--rfc5424"]),
        ("tcp-5424", &["--tcp", "--rfc5424"]),
        ("tcp-5424-counted", &["--tcp", "--rfc5424", "--octet-count"]),
    ];
    for (name, way) in ways {
        let more: &[&str] = match name.contains("5424") {
            true => &["--msgid", "ID7", "--sd-id", "x@1", "--sd-param", "a=\"b\""],
            false => &[],
        };
        logger(
            &[&["--server", "127.0.0.1", "--port", &port][..], way, more].concat(),
            &format!("by {name}."),
        );
        let by = format!("by {name}.");
        let (event, _) = eventually(&by, SOON, async || event(&output, &by)).await;
        assert_whole(&event);
        assert_eq!(event["message"].as_str().unwrap().trim_end(), by);
        if name.contains("5424") {
            assert_eq!(event["msgid"], "ID7", "{event:#}");
            assert!(event["structured_data"].as_str().unwrap().contains("[x@1 a=\"b\"]"), "{event:#}");
        }
    }
    assert_eq!(output.count(), ways.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn rsyslog_forwards_and_keeps_what_comes_while_the_pipeline_is_down() {
    let world = World::new().await;
    let [udp, counted, lines] = [(); 3].map(|()| free_port());
    let (socket, out) = (world.path("log"), world.path("out.json").display().to_string());
    let queue = r#"queue.type="LinkedList" action.resumeRetryCount="-1" action.resumeInterval="1""#;
    let sends = format!(
        r#"module(load="imuxsock" SysSock.Use="off")
        input(type="imuxsock" Socket="{}" RateLimit.Interval="0")
        action(type="omfwd" Target="127.0.0.1" Port="{udp}" Protocol="udp" Template="RSYSLOG_TraditionalForwardFormat")
        action(type="omfwd" Target="127.0.0.1" Port="{counted}" Protocol="tcp" TCP_Framing="octet-counted"
            Template="RSYSLOG_SyslogProtocol23Format" {queue})
        action(type="omfwd" Target="127.0.0.1" Port="{lines}" Protocol="tcp" Template="RSYSLOG_ForwardFormat" {queue})"#,
        socket.display()
    );
    let input = |port: u16, kind: &str| {
        format!(r#"syslog {{ host => "127.0.0.1" port => {port} type => "{kind}" }}"#)
    };
    let config = format!(
        "input {{ {} {} {} }} output {{ file {{ path => \"{out}\" codec => json_lines }} }}",
        input(udp, "udp"),
        input(counted, "counted"),
        input(lines, "lines")
    );
    let mut run = world.run(&config, &[]).await;
    for port in [udp, counted, lines] {
        accepts("the inputs listen", port).await;
    }
    let Some(_rsyslog) = rsyslog(&world, "rsyslog", &sends) else { return };
    let listens = async || if socket.exists() { Ok(()) } else { Err("no socket".to_owned()) };
    eventually("rsyslog listens", SOON, listens).await;
    let log = |message: &str| logger(&["--socket", socket.to_str().unwrap()], message);
    log("the first.");
    let output = world.output("out.json");
    let of = |text: &str, kind: &str| {
        let holds = |event: &Value| event["message"].as_str().is_some_and(|m| m.contains(text));
        let all = output.events();
        let found = all.iter().find(|event| event["type"] == *kind && holds(event)).cloned();
        found.ok_or_else(|| format!("none of {kind} with `{text}` in {all:#?}"))
    };
    for kind in ["udp", "counted", "lines"] {
        let (event, _) = eventually(kind, SOON, async || of("the first.", kind)).await;
        assert_whole(&event);
    }
    assert!(run.stop().await.success());
    log("while it was down.");
    run.start_again();
    for kind in ["counted", "lines"] {
        eventually(kind, START, async || of("while it was down.", kind)).await;
        log("after it.");
        eventually(kind, START, async || of("after it.", kind)).await;
    }
}

/// What rsyslog makes of a message, as JSON.
const PARTS: &str = r#"template(name="parts" type="list" option.jsonf="on") {
    property(outname="priority" name="pri" format="jsonf")
    property(outname="time" name="timereported" dateFormat="rfc3339" date.inUTC="on" format="jsonf")
    property(outname="host" name="hostname" format="jsonf")
    property(outname="program" name="app-name" format="jsonf")
    property(outname="pid" name="procid" format="jsonf")
    property(outname="msgid" name="msgid" format="jsonf")
    property(outname="data" name="structured-data" format="jsonf")
    property(outname="message" name="msg" format="jsonf") }
"#;

fn receives(world: &World, port: u16) -> Option<Peer> {
    let out = world.path("received.json").display().to_string();
    let config = format!(
        "module(load=\"imtcp\") module(load=\"imudp\") {PARTS}
        input(type=\"imtcp\" port=\"{port}\" address=\"127.0.0.1\")
        input(type=\"imudp\" port=\"{port}\" address=\"127.0.0.1\")
        action(type=\"omfile\" file=\"{out}\" template=\"parts\")\n"
    );
    rsyslog(world, "receiver", &config)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_rsyslog_understands_what_the_output_sends_in_each_form() {
    let world = World::new().await;
    let port = free_port();
    let Some(_receiver) = receives(&world, port) else { return };
    accepts("rsyslog listens", port).await;
    let output = |rfc: &str, protocol: &str| {
        format!(
            r#"syslog {{ host => "127.0.0.1" port => {port} protocol => {protocol} rfc => {rfc} sourcehost => "web-1"
            facility => "mail" severity => "error" appname => "app" procid => "42" msgid => "ID7"
            structured_data => '[x@1 a="b"]' message => "%{{message}} by {protocol} {rfc}" }}"#
        )
    };
    let ways = [("rfc3164", "udp"), ("rfc3164", "tcp"), ("rfc5424", "udp"), ("rfc5424", "tcp")];
    let config = format!(
        r#"input {{ generator {{ count => 1 message => "A: \"quoted\" [b] ä" }} }}
        filter {{ mutate {{ add_field => {{ at => "2026-03-04T05:06:07Z" }} }} date {{ match => [at, ISO8601] }} }}
        output {{ {} }}"#,
        ways.map(|(rfc, protocol)| output(rfc, protocol)).concat()
    );
    let mut run = world.start_run("run", &config, &["--config-support-escapes"]);
    assert!(run.ended().await.success(), "{}", run.printed());
    let received = world.output("received.json");
    for (rfc, protocol) in ways {
        let by = format!("by {protocol} {rfc}");
        let (seen, _) = eventually(&by, SOON, async || event(&received, &by)).await;
        let message = seen["message"].as_str().unwrap().trim_start();
        assert_eq!(message, format!("A: \"quoted\" [b] ä {by}"));
        let parts = ["priority", "host", "program", "pid"].map(|name| seen[name].clone());
        assert_eq!(json!(parts), json!(["19", "web-1", "app", "42"]), "{seen:#}");
        if rfc == "rfc5424" {
            let parts = ["time", "msgid", "data"].map(|name| seen[name].clone());
            assert_eq!(
                json!(parts),
                json!(["2026-03-04T05:06:07.000000+00:00", "ID7", "[x@1 a=\"b\"]"]),
                "{seen:#}"
            );
        }
    }
    assert_eq!(received.count(), ways.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_wait_while_rsyslog_is_killed_and_are_there_after_its_start() {
    const LINES: usize = 2_000;
    let world = World::new().await;
    let port = free_port();
    let Some(mut receiver) = receives(&world, port) else { return };
    accepts("rsyslog listens", port).await;
    let config = format!(
        r#"{} output {{ syslog {{ host => "127.0.0.1" port => {port} protocol => tcp rfc => rfc5424 }} }}"#,
        world.follows("in.txt")
    );
    world.append("in.txt", 1..=LINES / 2);
    let run = world.run(&config, &[]).await;
    let received = world.output("received.json");
    let all = async |count: usize| {
        let lines: Vec<String> = received
            .events()
            .iter()
            .filter_map(|event| event["message"].as_str().map(str::to_owned))
            .collect();
        let tally = tally(&lines.join("\n"), "line ", ".");
        if tally.distinct >= count { Ok(tally) } else { Err(format!("{tally:?}")) }
    };
    eventually("the first half", START, async || all(LINES / 2).await).await;
    receiver.kill();
    world.append("in.txt", LINES / 2 + 1..=LINES);
    let told = async || match run.printed() {
        printed if printed.contains("send to 127.0.0.1") => Ok(()),
        printed => Err(printed),
    };
    eventually("it is said that rsyslog cannot be reached", SOON, told).await;
    receiver.start_again();
    let (tally, _) = eventually("every message", START, async || all(LINES).await).await;
    assert_eq!((tally.lines, tally.torn, tally.first_missing), (LINES, 0, None), "each once");
}
