//! Asks the master for its agents: they are what has to be covered.
use super::Access;
use super::http::{Connection, HttpError};
use super::place::place;
use crate::core::cluster::Agent;
use crate::ids::AgentId;
use prost::Message;
use proto::mesos::v1;
use proto::mesos::v1::master;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

/// How often the master is asked.
const PERIOD: Duration = Duration::from_secs(3);
/// The largest answer that is read: one agent takes a few kilobytes.
const ANSWER_MAX: usize = 256 << 20;

/// What a question about the agents gave: all of them, or why not.
pub(crate) type Listed = Result<Vec<Agent>, String>;

/// Asks the master of the subscription every few seconds, until `stop`. When nobody takes the answers, it waits.
pub(crate) async fn list_agents(
    mut master: watch::Receiver<Option<String>>,
    access: Access,
    answers: mpsc::Sender<Listed>,
    stop: CancellationToken,
) {
    let mut period = interval(PERIOD);
    period.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = period.tick() => {}
            changed = master.changed() => if changed.is_err() { return },
        }
        let Some(address) = master.borrow_and_update().clone() else { continue };
        let answer = tokio::select! {
            () = stop.cancelled() => return,
            answer = ask(&address, access.clone()) => answer,
        };
        if answers.send(answer.map_err(|e| e.to_string())).await.is_err() {
            return;
        }
    }
}

async fn ask(master: &str, access: Access) -> Result<Vec<Agent>, HttpError> {
    let call = master::Call { r#type: Some(master::call::Type::GetAgents as i32), ..master::Call::default() };
    let mut connection = Connection::open(master, access).await?;
    let body = connection.ask("/api/v1", None, call.encode_to_vec(), ANSWER_MAX).await?;
    let response = master::Response::decode(body).map_err(|e| HttpError::Broken {
        master: master.to_owned(),
        why: format!("its answer is no protobuf: {e}"),
    })?;
    Ok(agents(response.get_agents.unwrap_or_default()))
}

pub(super) fn agents(listed: master::response::GetAgents) -> Vec<Agent> {
    let registered = listed.agents.into_iter().filter_map(|agent| {
        let withheld = withheld(&agent);
        let info = agent.agent_info;
        let place = place(info.hostname, info.domain, info.attributes);
        Some(Agent { id: AgentId(info.id?.value), place, withheld })
    });
    let recovered = listed.recovered_agents.into_iter().filter_map(|info: v1::AgentInfo| {
        let withheld = Some("it has not come back since the master changed".to_owned());
        let place = place(info.hostname, info.domain, info.attributes);
        Some(Agent { id: AgentId(info.id?.value), place, withheld })
    });
    registered.chain(recovered).collect()
}

fn withheld(agent: &master::response::get_agents::Agent) -> Option<String> {
    if let Some(drain) = &agent.drain_info {
        let drained = drain.state == v1::DrainState::Drained as i32;
        return Some(if drained { "it is drained" } else { "it is being drained" }.to_owned());
    }
    if agent.deactivated == Some(true) {
        return Some("an operator deactivated it".to_owned());
    }
    (!agent.active).then(|| "it is not connected to the master".to_owned())
}
