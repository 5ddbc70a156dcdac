//! Story: a million access-log lines of a container come out parsed, in order, none twice; and none is lost when the executor
//! is killed again and again.

use crate::docker::Docker;
use crate::eventually::eventually;
use crate::output::Tally;
use crate::world::{SOON, START, World, kill};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::time::Duration;

/// What a web server's image is configured with.
const ACCESS_LOG: &str = r#"
input { file { docker-path => "/var/log/access.log" start_position => "beginning" } }
filter { grok { match => { "message" => "%{COMBINEDAPACHELOG}" } } }
"#;

/// A script that writes `count` numbered lines of the combined format, then stays.
fn writes(count: usize) -> String {
    let line = r#"10.0.%d.%d - - [20/Nov/2026:10:00:00 +0000] \"GET /item/%d HTTP/1.1\" 200 %d \"-\" \"story/1.0\"\n"#;
    let awk = format!(
        r#"BEGIN {{ for (i = 1; i <= {count}; i++) printf "{line}", i / 256 % 256, i % 256, i, i % 5000 }}"#
    );
    format!("awk '{awk}' >>/var/log/access.log; sleep 1000000")
}

/// Writes one line of parsed fields for each event.
fn host_config(world: &World, output: &str) -> String {
    let path = world.path(output).display().to_string();
    let fields = "%{verb} %{request} %{response}";
    format!(r#"output {{ file {{ path => "{path}" codec => line {{ format => "{fields}" }} }} }}"#)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_million_lines_come_out_parsed_in_order_and_none_twice() {
    let Some(docker) = Docker::here().await else { return };
    const LINES: usize = 1_000_000;
    let world = World::alone().await;
    let logherd = world.local(&[]).await;
    docker.tag(&world.image()).await;
    logherd.api.put("configs", &world.image_name(), ACCESS_LOG).await;
    logherd.api.put("host-configs", "out", &host_config(&world, "out.log")).await;
    docker.run(&world.id, &world.image(), &writes(LINES)).await;

    let output = world.output("out.log");
    let all = async || match output.count() {
        count if count >= LINES => Ok(()),
        count => Err(format!("{count} events")),
    };
    let (_, took) = eventually("a million events", Duration::from_secs(600), all).await;
    println!(
        "{LINES} lines from a container through grok into a file: {took:?}, {:.0} lines/s",
        LINES as f64 / took.as_secs_f64()
    );
    let expected = Tally { lines: LINES, distinct: LINES, ascending: true, ..Tally::default() };
    assert_eq!(output.tally("GET /item/", " 200"), expected);

    let counters = async || {
        let node = &logherd.api.nodes().await?[0];
        let of_file = &logherd.api.containers(&world.id).await?[0]["tails"][0];
        if of_file["acknowledged_position"] == of_file["read_position"]
            && node["counters"]["events_out"] == LINES
        {
            return Ok(());
        }
        Err(format!("{:#} {of_file:#}", node["counters"]))
    };
    eventually("the counters say so, too", SOON, counters).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_line_is_lost_when_the_executor_is_killed_at_random_times() {
    let Some(docker) = Docker::here().await else { return };
    const LINES: usize = 200_000;
    const KILLS: usize = 4;
    let world = World::alone().await;
    let logherd = world.local(&[]).await;
    docker.tag(&world.image()).await;
    logherd.api.put("configs", &world.image_name(), ACCESS_LOG).await;
    logherd.api.put("host-configs", "out", &host_config(&world, "out.log")).await;
    let output = world.output("out.log");
    let seed: u64 = rand::rng().random();
    let mut random = StdRng::seed_from_u64(seed);
    println!("seed {seed}");

    docker.run(&world.id, &world.image(), &writes(LINES)).await;
    for round in 1..=KILLS {
        let at = random.random_range((round - 1) * LINES / KILLS..round * LINES / KILLS);
        let enough = async || match output.count() {
            count if count >= at => Ok(count),
            count => Err(format!("{count} events of {at}")),
        };
        let (count, _) = eventually("enough events to kill the executor", 4 * START, enough).await;
        let running = world.executors();
        println!("kill -9 of executor {running:?} after {count} events");
        running.into_iter().for_each(kill);
    }
    let whole = async || match output.tally("GET /item/", " 200") {
        tally if tally.distinct == LINES => Ok(tally),
        tally if tally.torn > KILLS => panic!("{tally:?}"),
        tally => Err(format!("{tally:?}")),
    };
    let (tally, took) = eventually("every line", Duration::from_secs(300), whole).await;
    println!(
        "{LINES} lines across {KILLS} kills in {took:?}: {} duplicates, {} torn",
        tally.duplicates, tally.torn
    );
    assert_eq!(tally.first_missing, None);
    assert!(tally.torn <= KILLS, "{tally:?}");
}
