//! Story: senders of HTTP requests, by TLS with certificates and passwords; and what a sender got an answer for is kept over a
//! kill, in a queue on disk, while the output is down.

use crate::api::http_client;
use crate::certificates;
use crate::eventually::eventually;
use crate::redis::Redis;
use crate::service::accepts;
use crate::world::{START, World, free_port};
use serde_json::json;
use std::collections::BTreeSet;

#[tokio::test(flavor = "multi_thread")]
async fn requests_by_tls_want_a_certificate_and_a_password_and_become_events_by_their_type() {
    let world = World::new().await;
    certificates::make(&world, "ours");
    let (port, out) = (free_port(), world.path("out.json").display().to_string());
    let config = format!(
        r#"input {{ http {{ host => "127.0.0.1" port => {port} user => shipper password => "${{STORY:s3cret}}" {} }} }}
        output {{ file {{ path => "{out}" codec => json_lines }} }}"#,
        certificates::options(&world, "ours")
    );
    let run = world.run(&config, &[]).await;
    accepts("the input listens", port).await;
    let url = format!("https://localhost:{port}/in/here?a=1");
    let client = |shows: Option<&str>| {
        let tls = certificates::client(&world, "ours", shows);
        http_client().tls_backend_preconfigured(tls).build().unwrap()
    };
    assert!(client(None).post(&url).body("x").send().await.is_err(), "without a certificate");
    let client = client(Some("ours"));
    let plain = client.post(&url).body("x").send().await.unwrap();
    assert_eq!(plain.status(), 401);
    let wrong = client.post(&url).basic_auth("shipper", Some("wrong")).body("x").send().await.unwrap();
    assert_eq!(wrong.status(), 401);
    let bodies = [
        ("text/plain", "a text\nof two lines".to_owned()),
        ("application/json", json!([{"n": 1}, {"n": 2}]).to_string()),
        ("application/x-ndjson", "{\"n\": 3}\n{\"n\": 4}\n".to_owned()),
    ];
    for (kind, body) in bodies {
        let request = client.post(&url).basic_auth("shipper", Some("s3cret")).header("content-type", kind);
        let answer = request.body(body).send().await.unwrap();
        assert_eq!((answer.status().as_u16(), answer.text().await.unwrap()), (200, "ok".into()), "{kind}");
    }
    let events = world.output("out.json").events();
    let numbers: Vec<_> = events.iter().filter_map(|event| event["n"].as_u64()).collect();
    assert_eq!((events.len(), numbers), (5, vec![1, 2, 3, 4]), "{events:#?}");
    assert_eq!(events[0]["message"], "a text\nof two lines");
    assert_eq!(events[0]["headers"]["request_path"], "/in/here?a=1", "{events:#?}");
    assert!(!run.printed().contains("s3cret"), "{}", run.printed());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_answered_is_in_the_queue_on_disk_and_survives_kills_while_the_output_is_down() {
    const REQUESTS: usize = 60;
    const EACH: usize = 50;
    let world = World::new().await;
    let Some(mut redis) = Redis::here(&world).await else { return };
    let port = free_port();
    let config = format!(
        r#"input {{ http {{ host => "127.0.0.1" port => {port} codec => line }} }}
        output {{ redis {{ {} data_type => list key => "story"
            codec => plain {{ format => "%{{message}}" }} }} }}"#,
        redis.options()
    );
    let mut run = world.run(&config, &["--queue-type", "persisted"]).await;
    accepts("the input listens", port).await;
    let (client, url) = (http_client().build().unwrap(), format!("http://127.0.0.1:{port}/"));
    let post = async |request: usize| {
        let lines: String = (1..=EACH).map(|n| format!("line {}.\n", request * EACH + n)).collect();
        let answer = client.post(&url).body(lines).send().await.map_err(|error| error.to_string())?;
        if answer.status() == 200 { Ok(()) } else { Err(answer.status().to_string()) }
    };
    let mut answered = BTreeSet::new();
    for request in 0..REQUESTS {
        match request {
            10 => redis.kill(),
            25 | 45 => {
                // In the middle of a request: it is not known what became of it, so its sender sends it again.
                let (killed, answer) = tokio::join!(async { run.kill() }, post(request));
                let () = killed;
                if answer.is_ok() {
                    answered.insert(request);
                }
                run.start_again();
                accepts("it listens again", port).await;
            }
            _ => {}
        }
        if !answered.contains(&request) {
            eventually("the request is answered", START, async || post(request).await).await;
            answered.insert(request);
        }
    }
    let waits = async || {
        let stats = run.api.get("/_node/stats").await?;
        match stats["pipelines"]["main"]["queue"]["events_count"].as_u64() {
            Some(count) if count as usize >= (REQUESTS - 10) * EACH => Ok(count),
            _ => Err(stats["pipelines"]["main"]["queue"].to_string()),
        }
    };
    let (waiting, _) = eventually("what was answered waits on disk", START, waits).await;
    redis.start_again().await;
    let all = async || match redis.tally("story").await? {
        tally if tally.distinct == REQUESTS * EACH => Ok(tally),
        tally => Err(format!("{tally:?}")),
    };
    let (tally, _) = eventually("every line is in Redis", START, all).await;
    println!("{waiting} events waited on disk over two kills: {} duplicates", tally.duplicates);
    assert_eq!((tally.torn, tally.first_missing), (0, None));
}
