//! The output against a server in this process that speaks Redis' protocol; the real one is in the stories.
use super::*;
use crate::redis::Replies;
use crate::runtime::{Surroundings, run_to_end};
use crate::{Plan, Scope, compile};
use std::net::SocketAddr;
use std::sync::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

const DRAIN: Duration = Duration::from_secs(20);

type Commands = Arc<Mutex<Vec<Vec<String>>>>;

/// Starts a server that answers each command as `answer` says, by its number.
async fn serve(
    answer: impl Fn(usize, &[String]) -> Option<String> + Send + Sync + 'static,
) -> (Commands, SocketAddr, JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let commands: Commands = Arc::default();
    let seen = commands.clone();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let (mut buffer, mut commands) = (Vec::new(), Replies::default());
            'connection: while stream.read_buf(&mut buffer).await.is_ok_and(|read| read > 0) {
                commands.push(&buffer);
                buffer.clear();
                while let Some(Reply::List(parts)) = commands.next().unwrap() {
                    let text = |part: &Reply| match part {
                        Reply::Text(bytes) => String::from_utf8(bytes.to_vec()).unwrap(),
                        other => panic!("{other:?}"),
                    };
                    let command: Vec<String> = parts.iter().map(text).collect();
                    let nth = seen.lock().unwrap().len();
                    seen.lock().unwrap().push(command.clone());
                    match answer(nth, &command) {
                        Some(reply) => stream.write_all(reply.as_bytes()).await.unwrap(),
                        None => break 'connection,
                    }
                }
            }
        }
    });
    (commands, address, tasks)
}

fn plan(address: SocketAddr, options: &str) -> Plan {
    let text = format!(
        "input {{ generator {{ count => 1 lines => ['a', 'b', 'c'] }} }}
         output {{ redis {{ host => '{address}' codec => plain {{ format => '%{{message}}' }} reconnect_interval => 0.01 {options} }} }}"
    );
    compile(Scope::Run, &text, &|_| None).unwrap_or_else(|problems| panic!("{problems:?}"))
}

async fn run(plan: Plan) -> (crate::Counters, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let around = Surroundings::new(dir.path(), "h", "test");
    let counters = run_to_end(plan, around, CancellationToken::new(), DRAIN).await.unwrap();
    (counters, dir)
}

fn joined(commands: &Commands) -> Vec<String> {
    commands.lock().unwrap().iter().map(|command| command.join(" ")).collect()
}

#[tokio::test]
async fn events_are_appended_one_by_one_or_by_batches_after_the_login() {
    let (commands, address, _tasks) = serve(|_, _| Some(":1\r\n".to_owned())).await;
    run(plan(address, "key => 'k-%{message}' data_type => list password => 'p' db => 2")).await;
    assert_eq!(joined(&commands), ["AUTH p", "SELECT 2", "RPUSH k-a a", "RPUSH k-b b", "RPUSH k-c c"]);
    commands.lock().unwrap().clear();
    run(plan(address, "key => k data_type => list batch => true batch_events => 2")).await;
    assert_eq!(joined(&commands), ["RPUSH k a b", "RPUSH k c"]);
    commands.lock().unwrap().clear();
    run(plan(address, "key => k data_type => channel")).await;
    assert_eq!(joined(&commands), ["PUBLISH k a", "PUBLISH k b", "PUBLISH k c"]);
}

#[tokio::test]
async fn only_what_was_not_acknowledged_is_sent_again() {
    // The second command closes the connection, the third is refused for now.
    let (commands, address, _tasks) = serve(|nth, _| match nth {
        1 => None,
        2 => Some("-OOM command not allowed\r\n".to_owned()),
        _ => Some(":1\r\n".to_owned()),
    })
    .await;
    let (counters, _dir) = run(plan(address, "key => k data_type => list")).await;
    let taken: Vec<String> = joined(&commands);
    assert_eq!(counters.events_out, 3);
    assert!(counters.retries >= 2);
    for (event, least) in [("a", 1), ("b", 2), ("c", 1)] {
        let sent = taken.iter().filter(|command| command.ends_with(&format!(" {event}"))).count();
        assert!(sent >= least, "{event}: {taken:?}");
    }
}

#[tokio::test]
async fn a_key_that_is_no_list_makes_dead_letters_and_the_others_go_on() {
    let (_commands, address, _tasks) = serve(|_, command| match command[2].as_str() {
        "b" => Some("-WRONGTYPE Operation against a key\r\n".to_owned()),
        _ => Some(":1\r\n".to_owned()),
    })
    .await;
    let (counters, dir) = run(plan(address, "key => k data_type => list")).await;
    let letters: Vec<_> = crate::dead_letters(dir.path(), "test").map(Result::unwrap).collect();
    assert_eq!((counters.dead_letters, letters.len()), (1, 1));
    assert!(letters[0].reason.starts_with("WRONGTYPE"));
}

#[tokio::test]
async fn a_list_that_is_too_long_is_waited_for() {
    let (commands, address, _tasks) = serve(|nth, command| {
        Some(if command[0] == "LLEN" && nth == 0 { ":11\r\n".to_owned() } else { ":1\r\n".to_owned() })
    })
    .await;
    let options = "key => k data_type => list congestion_threshold => 10 congestion_interval => 0.01";
    run(plan(address, options)).await;
    assert_eq!(joined(&commands)[..3], ["LLEN k", "LLEN k", "RPUSH k a"]);
}

#[test]
fn servers_may_be_written_in_many_ways() {
    let place = |text: &str| address(text, 6379);
    assert_eq!(place("r"), Some(("r".into(), 6379)));
    assert_eq!(place("r:1"), Some(("r".into(), 1)));
    assert_eq!(place("::1"), Some(("::1".into(), 6379)));
    assert_eq!(place("[::1]:7"), Some(("::1".into(), 7)));
    for wrong in ["", "redis://r", "p@r", "r:x", "a b"] {
        assert_eq!(place(wrong), None, "{wrong}");
    }
}
