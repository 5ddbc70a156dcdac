//! Story: one command, and it is ready; Ctrl-C, and nothing is left; again, and it goes on.

use crate::eventually::eventually;
use crate::world::{SOON, World};
use reqwest::Method;

#[tokio::test(flavor = "multi_thread")]
async fn local_becomes_ready_and_says_what_to_do_next() {
    let world = World::new().await;
    let logherd = world.local(&[]).await;
    let url = logherd.api.url.clone();
    let says_where = async || match logherd.printed() {
        printed if printed.contains(&url) => Ok(()),
        printed => Err(printed),
    };
    eventually("the terminal says where the page is", SOON, says_where).await;

    let status = logherd.api.get("/api/v1/status").await.unwrap();
    assert_eq!(status["phase"], "subscribed", "{status:#}");
    assert_eq!((&status["nodes_known"], &status["nodes_covered"]), (&1.into(), &1.into()), "{status:#}");
    assert_eq!(logherd.api.nodes().await.unwrap()[0]["coverage"], "running");
    for (path, holds) in [
        ("/", "<html"),
        ("/nodes", "<html"),
        ("/config", "<html"),
        ("/health", ""),
        ("/metrics", "# TYPE logherd"),
    ] {
        let response = logherd.api.send(Method::GET, path, None).await.unwrap();
        assert_eq!(response.status(), 200, "{path}");
        let text = response.text().await.unwrap();
        assert!(text.contains(holds), "{path}: {text}");
    }
    assert_eq!(world.executors().len(), 1, "the executor is a process of its own");
}

#[tokio::test(flavor = "multi_thread")]
async fn after_ctrl_c_nothing_is_left_running_and_a_second_start_goes_on() {
    let world = World::new().await;
    let mut logherd = world.local(&["--nodes", "2"]).await;
    logherd.api.put("host-configs", "kept", "input { generator { count => 1 } } output { null { } }").await;
    let before = logherd.api.get("/api/v1/status").await.unwrap();
    let agents = agent_ids(&logherd.api.nodes().await.unwrap());

    let status = logherd.stop().await;
    assert!(status.success(), "{status}: {}", logherd.printed());
    assert_eq!(world.executors(), Vec::<u32>::new(), "Ctrl-C ends the executors, too");

    logherd.start_again();
    eventually("ready again", SOON, async || logherd.api.ready().await).await;
    let after = logherd.api.get("/api/v1/status").await.unwrap();
    assert_eq!(after["framework_id"], before["framework_id"]);
    assert_eq!(agent_ids(&logherd.api.nodes().await.unwrap()), agents);
    let kept = logherd.api.get("/host-configs/kept").await.unwrap();
    assert!(kept["input"].as_str().unwrap().contains("generator"), "{kept:#}");
}

fn agent_ids(nodes: &[serde_json::Value]) -> Vec<String> {
    let mut ids: Vec<String> =
        nodes.iter().map(|node| node["agent_id"].as_str().unwrap().to_owned()).collect();
    ids.sort();
    ids
}
