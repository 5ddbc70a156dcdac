//! Drains over changes of masters.

use super::guest::Guest;
use operator_api::call::{DrainAgent, Type};
use proto::mesos::v1::{self as mesos, master as operator_api};
use std::time::Duration;

#[test]
fn an_agent_whose_new_master_knows_of_no_drain_takes_tasks_again() {
    let mut guest = Guest::new(1);
    guest.run(0, "a");
    let drain = DrainAgent { agent_id: guest.agent_id(0), ..Default::default() };
    let call = operator_api::Call { drain_agent: Some(drain), ..Default::default() };
    guest.operate(Type::DrainAgent, call);
    guest.world.exit(0, "executor-a", 0);
    guest.acknowledge_all();
    guest.world.replace_master("00000000-0000-4000-8000-000000000001");
    guest.world.link_all();
    guest.subscribe_again();
    guest.world.advance(Duration::from_secs(1));
    guest.run(0, "b");
    let told = guest.new_statuses();
    assert!(told.iter().all(|status| status.state() != mesos::TaskState::TaskDropped), "{told:?}");
    assert_eq!(guest.world.agents[0].containers.len(), 1, "the executor was started");
}
