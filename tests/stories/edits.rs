//! Story: an edit is on every node within a second, disturbs nothing else, and is refused with its position when it is broken.

use crate::docker::Docker;
use crate::eventually::{always, eventually};
use crate::world::{SOON, World};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use std::time::Duration;

const SOURCE: &str = r#"input { file { docker-path => "/var/log/app.log" start_position => "beginning" } }"#;

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_is_applied_within_a_second_and_unchanged_pipelines_are_not_restarted() {
    let Some(docker) = Docker::here().await else { return };
    let world = World::alone().await;
    let logherd = world.local(&[]).await;
    let api = &logherd.api;
    let images = ["edited", "untouched"].map(|name| format!("{}/{name}", world.id));
    for image in &images {
        docker.tag(&format!("{image}:1")).await;
        api.put("configs", image, SOURCE).await;
    }
    let path = world.path("out.json").display().to_string();
    api.put(
        "host-configs",
        "out",
        &format!(r#"output {{ file {{ path => "{path}" codec => json_lines }} }}"#),
    )
    .await;
    let script = "echo hello >>/var/log/app.log; sleep 1000000";
    let edited = docker.run(&world.id, &format!("{}:1", images[0]), script).await;
    let untouched = docker.run(&world.id, &format!("{}:1", images[1]), script).await;
    let output = world.output("out.json");
    let both = async || if output.count() == 2 { Ok(()) } else { Err(output.text()) };
    eventually("both stream", SOON, both).await;
    let tails_before = untouched.tails_of("/var/log/app.log").await;
    assert_eq!(tails_before.len(), 1, "{:?}", untouched.processes().await);

    let new = format!(r#"{SOURCE} filter {{ mutate {{ add_field => {{ "edit" => "two" }} }} }}"#);
    api.put("configs", &images[0], &new).await;
    let (_, took) = eventually("applied", Duration::from_secs(1), async || api.applied().await).await;
    println!("from the answer to PUT to applied: {took:?}");
    edited.log("/var/log/app.log", "after the edit").await;
    untouched.log("/var/log/app.log", "elsewhere").await;
    eventually("the new line", SOON, async || output.holds("after the edit")).await;
    eventually("the other line", SOON, async || output.holds("elsewhere")).await;

    let events = output.events();
    let find = |text: &str| events.iter().find(|event| event["message"] == text).unwrap();
    assert_eq!(find("after the edit")["edit"], "two", "the new filter ran");
    assert!(find("elsewhere")["edit"].is_null(), "the other pipeline did not change");
    assert_eq!(events.len(), 4, "no line came twice: {events:#?}");
    assert_eq!(
        untouched.tails_of("/var/log/app.log").await,
        tails_before,
        "the untouched tail is the same process"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_edit_is_refused_with_every_problem_and_its_position_and_changes_nothing() {
    let world = World::new().await;
    let logherd = world.local(&[]).await;
    let api = &logherd.api;
    api.put("configs", "web/nginx", SOURCE).await;
    let before = api.get("/api/v1/status").await.unwrap()["revision"].clone();

    let broken =
        "input { file { docker-path => \"/a\"\n  start_positoin => \"end\" } }\nfilter { grokk { } }";
    let (status, answer) = api.try_put("configs", "web/nginx", broken).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{answer:#}");
    let text = answer.to_string();
    assert!(
        text.contains("start_position") && text.contains("grok"),
        "every problem, with a hint: {answer:#}"
    );
    let lines = positions(&answer);
    assert!(lines.contains(&2) && lines.contains(&3), "lines {lines:?} in {answer:#}");

    assert_eq!(api.get("/configs/web%2Fnginx").await.unwrap()["input"], SOURCE);
    assert_eq!(api.get("/api/v1/status").await.unwrap()["revision"], before);
}

/// The lines that diagnostics point at, wherever in the answer they are.
fn positions(answer: &Value) -> Vec<u64> {
    match answer {
        Value::Array(items) => items.iter().flat_map(positions).collect(),
        Value::Object(members) => {
            let here = members.get("line").and_then(Value::as_u64);
            here.into_iter().chain(members.values().flat_map(positions)).collect()
        }
        _ => Vec::new(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_people_who_edit_at_once_do_not_overwrite_each_other() {
    let world = World::new().await;
    let logherd = world.local(&[]).await;
    let api = &logherd.api;
    let created = api
        .send(Method::POST, "/configs", Some(json!({"name": "web/nginx", "input": SOURCE})))
        .await
        .unwrap();
    assert_eq!(created.status(), StatusCode::CREATED);
    assert!(created.headers()["location"].to_str().unwrap().ends_with("/configs/web%2Fnginx"), "{created:?}");
    let again = api
        .send(Method::POST, "/configs", Some(json!({"name": "web/nginx", "input": SOURCE})))
        .await
        .unwrap();
    assert_eq!(again.status(), StatusCode::CONFLICT);

    let seen = api.send(Method::GET, "/configs/web%2Fnginx", None).await.unwrap();
    let tag = seen.headers()["etag"].to_str().unwrap().to_owned();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let put = async |text: &str| {
        let body = json!({"name": "web/nginx", "input": text});
        let request =
            client.put(format!("{}/configs/web%2Fnginx", api.url)).header("if-match", &tag).json(&body);
        request.send().await.unwrap().status()
    };
    assert_eq!(put(&format!("{SOURCE}\n# first")).await, StatusCode::OK);
    assert_eq!(put(&format!("{SOURCE}\n# second")).await, StatusCode::PRECONDITION_FAILED);
    assert!(api.get("/configs/web%2Fnginx").await.unwrap()["input"].as_str().unwrap().ends_with("# first"));

    let deleted = api.send(Method::DELETE, "/configs/web%2Fnginx", None).await.unwrap();
    assert_eq!(deleted.status(), StatusCode::NO_CONTENT);
    let gone = api.send(Method::GET, "/configs/web%2Fnginx", None).await.unwrap();
    assert_eq!(gone.status(), StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_in_the_config_directory_is_an_edit_and_a_broken_one_changes_nothing() {
    let world = World::new().await;
    let dir = world.path("configs");
    std::fs::create_dir_all(dir.join("docker/web")).unwrap();
    std::fs::create_dir_all(dir.join("host")).unwrap();
    std::fs::write(dir.join("docker/web/nginx.conf"), SOURCE).unwrap();
    let logherd = world.local(&["--config-dir", dir.to_str().unwrap()]).await;
    let api = &logherd.api;
    let is = async |text: &str| {
        let seen = api.get("/configs/web%2Fnginx").await?["input"].clone();
        if seen == text { Ok(()) } else { Err(seen.to_string()) }
    };
    eventually("the file is a config", SOON, async || is(SOURCE).await).await;

    let changed = format!("{SOURCE}\n# changed");
    std::fs::write(dir.join("docker/web/nginx.conf"), &changed).unwrap();
    eventually("a change of the file", SOON, async || is(&changed).await).await;

    std::fs::write(dir.join("docker/web/nginx.conf"), "input { file {").unwrap();
    let shown = async || {
        let page =
            api.send(Method::GET, "/config", None).await?.text().await.map_err(|error| error.to_string())?;
        if page.contains("web/nginx.conf") { Ok(()) } else { Err(page) }
    };
    eventually("the page shows the broken file", SOON, shown).await;
    always("the config in force stays", Duration::from_millis(500), async || is(&changed).await).await;

    std::fs::remove_file(dir.join("docker/web/nginx.conf")).unwrap();
    let gone = async || match api.get("/configs/web%2Fnginx").await {
        Err(error) if error.contains("404") => Ok(()),
        other => Err(format!("{other:?}")),
    };
    eventually("a removed file is a removed config", SOON, gone).await;
}
