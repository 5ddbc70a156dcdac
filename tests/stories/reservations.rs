//! Story: a master that does not let the scheduler reserve, and reservations for a role that is not used any more.

use crate::eventually::eventually;
use crate::nodes::cluster_and_scheduler_with;
use crate::world::{SOON, START, World};
use local::Fault;
use serde_json::Value;

/// What the scheduler says is wrong with reservations.
fn problems(status: &Value) -> Vec<String> {
    let all = status["reservation_problems"].as_array().cloned().unwrap_or_default();
    all.iter().map(|problem| problem.as_str().unwrap_or_default().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn where_reserving_is_denied_executors_run_without_and_the_reason_is_said_until_it_is_allowed() {
    let world = World::new().await;
    let deny =
        async |cluster: &local::Cluster| cluster.master_handle().set_faults(&[Fault::DeniedReservations]);
    let (cluster, scheduler) =
        cluster_and_scheduler_with(&world, 2, &["--reserve", "--roles", "logs"], deny).await;
    let status = scheduler.api.get("/api/v1/status").await.unwrap();
    assert_eq!(status["agents_reserved"], 0);
    let said = problems(&status);
    assert!(
        matches!(&said[..], [one] if one.contains("reservation denied") && one.contains("ACLs")),
        "{said:?}"
    );
    let decisions = status["decisions"].to_string();
    assert!(decisions.contains("reservation denied: the launch is tried again without one"), "{decisions}");
    assert_eq!(world.executors().len(), 2);
    drop(cluster);
}

#[tokio::test(flavor = "multi_thread")]
async fn reservations_of_a_role_that_was_taken_out_are_given_up_once_nothing_uses_them() {
    let world = World::new().await;
    let nothing = async |_: &local::Cluster| {};
    let more = ["--reserve", "--roles", "old"];
    let (cluster, mut scheduler) = cluster_and_scheduler_with(&world, 2, &more, nothing).await;
    let reserved = async |wanted: u64| {
        let status = scheduler.api.get("/api/v1/status").await?;
        let is = status["agents_reserved"].as_u64() == Some(wanted);
        if is { Ok(()) } else { Err(status.to_string()) }
    };
    eventually("reserved for a role", START, async || reserved(2).await).await;
    scheduler.stop().await;

    // Executors still run on what is reserved for the old role: it is reported, and given up once they are replaced.
    scheduler
        .arguments
        .retain(|argument| argument != "old" && argument != "--roles" && argument != "--reserve");
    scheduler.arguments.extend(["--roles".into(), "new".into()]);
    scheduler.start_again();
    let told = async || {
        let said = problems(&scheduler.api.get("/api/v1/status").await?);
        let all = said.iter().any(|one| one.contains("role old") && one.contains("something runs on it"));
        if all { Ok(()) } else { Err(format!("{said:?}")) }
    };
    eventually("what is left over is reported", SOON, told).await;
    world.executors().into_iter().for_each(crate::world::kill);
    let free = async || {
        let status = scheduler.api.get("/api/v1/status").await?;
        let is = status["agents_reserved"].as_u64() == Some(0) && problems(&status).is_empty();
        if is { Ok(()) } else { Err(status.to_string()) }
    };
    eventually("given up", START * 3, free).await;
    eventually("covered by the other role", SOON, async || scheduler.api.ready().await).await;
    drop(cluster);
}
