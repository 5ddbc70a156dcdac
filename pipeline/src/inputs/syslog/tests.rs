//! Messages over real sockets, and their fields.
use super::*;
use crate::trial::inputs::{Trial, free_port};
use crate::value::Timestamp;
use serde_json::Value as Json;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpStream, UdpSocket};

/// The event of a message, as JSON, with its moment.
fn relayed(options: &str, message: &str) -> Json {
    let text = format!("input {{ syslog {{ {options} }} }}");
    let plan = crate::compile(crate::Scope::Run, &text, &|_| None)
        .unwrap_or_else(|problems| panic!("{text}: {problems:?}"));
    let options = plan.inputs[0].options.downcast_ref::<SyslogOptions>().unwrap();
    let [grok, date] = options.plugins();
    let mut relay = Relay {
        names: Names::new(options.ecs_compatibility),
        grok: grok.build().unwrap(),
        date: date.build().unwrap(),
        options: options.clone(),
    };
    let event = Event::with_message(Timestamp::UNIX_EPOCH, message.into());
    let mut events = relay.work(vec![event]);
    serde_json::from_str(&events.remove(0).to_json()).unwrap()
}

fn has(event: &Json, fields: &[(&str, Json)]) {
    for (pointer, value) in fields {
        let found = event.pointer(&format!("/{pointer}")).cloned().unwrap_or_default();
        assert_eq!(found, *value, "{pointer} of {event}");
    }
}

#[test]
fn messages_of_rfc_3164_are_taken_apart() {
    let line = "<164>Oct 26 15:19:25 1.2.3.4 %ASA-4-106023: Deny udp src DRAC:10.1.2.3/43434 dst outside:192.168.0.1/53";
    let event = relayed("timezone => '+00:00'", line);
    has(
        &event,
        &[
            ("priority", 164.into()),
            ("facility", 20.into()),
            ("facility_label", "local4".into()),
            ("severity", 4.into()),
            ("severity_label", "Warning".into()),
            ("logsource", "1.2.3.4".into()),
            ("timestamp", "Oct 26 15:19:25".into()),
            ("program", "%ASA-4-106023".into()),
            ("message", "Deny udp src DRAC:10.1.2.3/43434 dst outside:192.168.0.1/53".into()),
            ("tags", Json::Null),
        ],
    );
    assert!(event["@timestamp"].as_str().unwrap().ends_with("-10-26T15:19:25.000Z"));
    let event = relayed("use_labels => false", "<13>Jan  2 03:04:05 web app[7]: hello");
    has(
        &event,
        &[
            ("pid", "7".into()),
            ("program", "app".into()),
            ("message", "hello".into()),
            ("severity_label", Json::Null),
        ],
    );
}

#[test]
fn dates_of_iso_8601_and_zones_are_understood() {
    let event = relayed("", "<13>2026-01-02T03:04:05.678+01:00 web app: hello");
    has(
        &event,
        &[
            ("@timestamp", "2026-01-02T02:04:05.678Z".into()),
            ("timestamp", "2026-01-02T03:04:05.678+01:00".into()),
        ],
    );
    let event = relayed("timezone => 'America/New_York'", "<13>Jul 26 15:19:25 web app: hello");
    assert!(event["@timestamp"].as_str().unwrap().ends_with("-07-26T19:19:25.000Z"));
}

#[test]
fn what_is_no_syslog_is_kept_and_tagged() {
    let event = relayed("", "hello world, this is not syslog RFC3164");
    has(
        &event,
        &[
            ("message", "hello world, this is not syslog RFC3164".into()),
            ("tags", serde_json::json!([FAILURE])),
            ("priority", 0.into()),
            ("facility_label", "kernel".into()),
            ("severity_label", "Emergency".into()),
        ],
    );
}

#[test]
fn messages_of_rfc_5424_are_taken_apart() {
    let line = "<165>1 2003-10-11T22:14:15.003Z web.example.com evntslog 42 ID47 [x@1 a=\"b\"] An event";
    has(
        &relayed("", line),
        &[
            ("@timestamp", "2003-10-11T22:14:15.003Z".into()),
            ("priority", 165.into()),
            ("facility_label", "local4".into()),
            ("severity_label", "Notice".into()),
            ("logsource", "web.example.com".into()),
            ("program", "evntslog".into()),
            ("pid", "42".into()),
            ("msgid", "ID47".into()),
            ("structured_data", "[x@1 a=\"b\"]".into()),
            ("message", "An event".into()),
            ("tags", Json::Null),
        ],
    );
}

#[test]
fn a_pattern_of_ones_own_is_used() {
    let options =
        "grok_pattern => '<%{POSINT:priority}>%{SYSLOGTIMESTAMP:timestamp} atypical %{GREEDYDATA:message}'";
    has(
        &relayed(options, "<164>Oct 26 15:19:25 atypical This part"),
        &[("message", "This part".into()), ("severity", 4.into()), ("facility", 20.into())],
    );
}

#[test]
fn fields_may_have_the_names_of_the_common_schema() {
    let line = "<164>Oct 26 15:19:25 1.2.3.4 a sample message";
    has(
        &relayed("ecs_compatibility => v1", line),
        &[
            ("message", "a sample message".into()),
            ("event/original", line.into()),
            ("log/syslog/priority", 164.into()),
            ("log/syslog/facility/code", 20.into()),
            ("log/syslog/facility/name", "local4".into()),
            ("log/syslog/severity/name", "Warning".into()),
            ("host/hostname", "1.2.3.4".into()),
            ("service/type", "system".into()),
            ("timestamp", Json::Null),
        ],
    );
}

#[tokio::test]
async fn messages_come_by_udp_and_by_tcp_counted_or_by_lines() {
    let port = free_port();
    let mut trial = Trial::start(&format!("syslog {{ host => '127.0.0.1' port => {port} }}"));
    let mut stream = None;
    trial
        .until("somebody listens", async || {
            stream = TcpStream::connect(("127.0.0.1", port)).await.ok();
            stream.is_some()
        })
        .await;
    let mut stream = stream.unwrap();
    stream
        .write_all(b"<13>Jan  2 03:04:05 web app: by line\n36 <13>Jan  2 03:04:05 web app: counted")
        .await
        .unwrap();
    trial.events(2).await;
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.send_to(b"<13>Jan  2 03:04:05 web app: by datagram", ("127.0.0.1", port)).await.unwrap();
    let events = trial.events(3).await;
    let messages: Vec<_> = events.iter().map(|event| event["message"].as_str().unwrap()).collect();
    assert_eq!(messages, ["by line\n", "counted", "by datagram"]);
    assert!(events.iter().all(|event| event["host"] == "127.0.0.1"));
    trial.stop().await;
}

#[test]
fn a_pattern_that_cannot_be_used_is_told_at_its_place() {
    let text = "input { syslog { grok_pattern => '%{NOTHING}' timezone => 'Mars' } }";
    let problems = crate::check(crate::Scope::Run, text, &|_| None);
    let places: Vec<usize> = problems.iter().map(|problem| problem.column).collect();
    assert_eq!(places, [34, 59], "{problems:?}");
}

#[tokio::test]
async fn what_a_connection_brought_before_a_stop_is_passed_on_though_the_pipeline_is_full() {
    let (ours, mut theirs) = tokio::io::duplex(1024);
    theirs.write_all(b"<13>a\n<13>b\n<13>c\n<13>d").await.unwrap();
    let (queue, mut messages) = mpsc::channel(1);
    let stop = CancellationToken::new();
    let until = stop.clone();
    let peer = Peer { address: "127.0.0.1:1".parse().unwrap(), tls: None };
    let mut serving = tokio::task::JoinSet::new();
    serving.spawn(async move { connection(Box::new(ours), peer, false, &queue, &until).await });
    let mut got = vec![messages.recv().await.unwrap().0];
    stop.cancel();
    while let Some((message, _)) = messages.recv().await {
        got.push(message);
    }
    assert_eq!(got, ["<13>a\n", "<13>b\n", "<13>c\n", "<13>d"]);
}
