//! Story: what a real search server refuses is kept, listed, shown, and sent again once it is taken.

use crate::eventually::eventually;
use crate::search::SearchServer;
use crate::service::answer;
use crate::world::{START, World, binary};
use serde_json::{Value, json};
use std::process::Command;

/// What `logherd dlq` prints, or that it failed.
async fn try_dlq(world: &World, words: &[&str]) -> Result<String, String> {
    let mut command = Command::new(binary());
    command.arg("dlq").args(words).args(["--data-dir", world.path("run-data").to_str().unwrap()]);
    answer(command).await
}

async fn dlq(world: &World, words: &[&str]) -> String {
    try_dlq(world, words).await.unwrap()
}

async fn letters(world: &World) -> Vec<Value> {
    let shown = dlq(world, &["show", "--format", "json"]).await;
    shown.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_search_server_refuses_is_listed_and_shown_and_arrives_when_it_is_sent_again() {
    let world = World::alone().await;
    let Some(server) = SearchServer::here(&world).await else { return };
    let mapping = json!({"mappings": {"properties": {"n": {"type": "long"}}}});
    server.send(reqwest::Method::PUT, "story-letters", &mapping).await.unwrap();
    let path = world.path("in.txt").display().to_string();
    let config = format!(
        r#"input {{ file {{ path => "{path}" start_position => beginning codec => json }} }}
        output {{ elasticsearch {{ id => "search" hosts => ["http://127.0.0.1:{}"] index => "story-letters" }} }}"#,
        server.port
    );
    for n in [json!(1), json!("two"), json!(3), json!("four"), json!(5)] {
        world.write("in.txt", &format!("{}\n", json!({"n": n, "said": format!("it is {n}")})));
    }
    let mut run = world.run(&config, &[]).await;
    let taken = async |count: usize| match server.documents("story-letters").await?.len() {
        documents if documents == count => Ok(()),
        documents => Err(format!("{documents} documents")),
    };
    eventually("the good ones", START, async || taken(3).await).await;
    let refused = async || {
        let stats = run.api.get("/_node/stats").await?;
        match &stats["pipelines"]["main"]["dead_letter_queue"]["events"] {
            events if *events == 2 => Ok(()),
            events => Err(events.to_string()),
        }
    };
    eventually("two dead letters", START, refused).await;
    assert!(run.stop().await.success(), "{}", run.printed());

    let list: Value = serde_json::from_str(dlq(&world, &["list", "--format", "json"]).await.trim()).unwrap();
    assert_eq!((&list["pipeline"], &list["letters"]), (&json!("main"), &json!(2)), "{list:#}");
    assert!(dlq(&world, &["list"]).await.contains("main"));
    let shown = letters(&world).await;
    let said: Vec<_> = shown.iter().map(|letter| letter["event"]["said"].clone()).collect();
    assert_eq!(said, ["it is \"two\"", "it is \"four\""], "{shown:#?}");
    let people = dlq(&world, &["show", "--last", "1"]).await;
    assert!(people.contains("search") && people.contains("four") && !people.contains("two"), "{people}");
    assert!(people.contains("mapper_parsing_exception"), "{people}");

    let conf = world.path("run.conf").display().to_string();
    let again = try_dlq(&world, &["replay", "-f", &conf]).await.unwrap_err();
    assert!(again.contains("exit status: 1") && again.contains("2 of them refused again"), "{again}");
    assert_eq!(letters(&world).await.len(), 2, "they are kept");
    server.send(reqwest::Method::DELETE, "story-letters", &json!({})).await.unwrap();
    let keyword = json!({"mappings": {"properties": {"n": {"type": "keyword"}}}});
    server.send(reqwest::Method::PUT, "story-letters", &keyword).await.unwrap();
    dlq(&world, &["replay", "-f", &conf]).await;
    assert_eq!(letters(&world).await, [Value::Null; 0], "they have arrived");
    eventually("the refused ones", START, async || taken(2).await).await;
}
