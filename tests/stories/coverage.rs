//! Story: every agent has a state with a cause, through drains and maintenance, and `logherd why` explains it.

use crate::eventually::eventually;
use crate::nodes::cluster_and_scheduler;
use crate::world::{Logherd, START, World, binary};
use local::Cluster;
use prost::Message;
use proto::mesos::v1;
use proto::mesos::v1::master::{Call, call};
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Tells the master something as an operator.
async fn operate(cluster: &Cluster, kind: call::Type, change: impl FnOnce(&mut Call)) {
    let mut call = Call { r#type: Some(kind as i32), ..Call::default() };
    change(&mut call);
    let url = format!("http://{}/api/v1", cluster.master());
    let request = reqwest::Client::builder()
        .no_proxy()
        .build()
        .unwrap()
        .post(url)
        .header("content-type", "application/x-protobuf")
        .header("accept", "application/x-protobuf")
        .body(call.encode_to_vec());
    let response = request.send().await.unwrap();
    assert!(response.status().is_success(), "{kind:?}: {}", response.text().await.unwrap());
}

/// Waits until a node is there in this state and by this cause.
async fn becomes(scheduler: &Logherd, agent: &str, state: &str, cause: &str) {
    let is = async || {
        let nodes = scheduler.api.nodes().await?;
        let node = nodes.iter().find(|node| node["agent_id"] == agent).ok_or("it is not there")?;
        match node["coverage"] == state && node["cause"] == cause {
            true => Ok(()),
            false => Err(format!("{} {}: {}", node["coverage"], node["cause"], node["reason"])),
        }
    };
    eventually(&format!("{state}, {cause}"), START, is).await;
}

/// What `logherd why` says, and its exit status.
fn why(scheduler: &Logherd, agent: &str) -> (String, Option<i32>) {
    let api = scheduler.api.url.clone();
    let output = Command::new(binary()).args(["why", agent, "--api", &api]).output().unwrap();
    (String::from_utf8_lossy(&output.stdout).into_owned(), output.status.code())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_executor_leaves_for_a_drain_and_for_maintenance_and_comes_back_and_why_says_so() {
    let world = World::new().await;
    let (cluster, scheduler) = cluster_and_scheduler(&world, 2).await;
    let nodes = scheduler.api.nodes().await.unwrap();
    let agent = nodes[0]["agent_id"].as_str().unwrap().to_owned();
    let host = nodes[0]["host"].as_str().unwrap().to_owned();
    let (text, status) = why(&scheduler, &agent);
    assert!(status == Some(0) && text.contains("it runs and is attached"), "{status:?}: {text}");
    let listed = async || match scheduler.api.get("/api/v1/status").await?["nodes_listed"].as_u64() {
        Some(2) => Ok(()),
        other => Err(format!("{other:?}")),
    };
    eventually("the master lists both", START, listed).await;

    let id = || v1::AgentId { value: agent.clone() };
    operate(&cluster, call::Type::DrainAgent, |call| {
        call.drain_agent = Some(call::DrainAgent { agent_id: id(), ..call::DrainAgent::default() });
    })
    .await;
    becomes(&scheduler, &agent, "draining", "drained").await;
    assert_eq!(world.executors().len(), 1);
    let (text, status) = why(&scheduler, &agent);
    assert_eq!(status, Some(1), "{text}");
    for part in ["NO", "until it is reactivated", "what to do: reactivate the agent", "AGENT_DRAINING"] {
        assert!(text.contains(part), "{part} in {text}");
    }
    operate(&cluster, call::Type::ReactivateAgent, |call| {
        call.reactivate_agent = Some(call::ReactivateAgent { agent_id: id() });
    })
    .await;
    becomes(&scheduler, &agent, "running", "runs").await;

    let start = SystemTime::now().duration_since(UNIX_EPOCH).unwrap() + Duration::from_secs(20);
    let window = v1::maintenance::Window {
        machine_ids: vec![v1::MachineId { hostname: Some(host.clone()), ip: None }],
        unavailability: v1::Unavailability {
            start: v1::TimeInfo { nanoseconds: i64::try_from(start.as_nanos()).unwrap() },
            duration: Some(v1::DurationInfo { nanoseconds: 3_600_000_000_000 }),
        },
    };
    plan(&cluster, vec![window]).await;
    becomes(&scheduler, &agent, "maintenance", "maintenance_soon").await;
    let gone = async || match world.executors().len() {
        1 => Ok(()),
        number => Err(format!("{number} executors")),
    };
    eventually("the executor left before the maintenance", START, gone).await;
    plan(&cluster, vec![]).await;
    becomes(&scheduler, &agent, "running", "runs").await;
    eventually("ready again", START, async || scheduler.api.ready().await).await;
    cluster.stop().await;
}

async fn plan(cluster: &Cluster, windows: Vec<v1::maintenance::Window>) {
    operate(cluster, call::Type::UpdateMaintenanceSchedule, |call| {
        let schedule = v1::maintenance::Schedule { windows };
        call.update_maintenance_schedule = Some(call::UpdateMaintenanceSchedule { schedule });
    })
    .await;
}
