//! Asks the master about its cluster over the operator API: its agents are what has to be covered.
//!
//! A stream tells of agents as they come and go; a question every few seconds finds what the stream does not tell (drains,
//! agents that became unreachable) and goes on alone while there is no stream.
mod leftovers;

use super::Access;
use super::http::{Connection, HttpError};
use super::items::{Garbled, each, item};
use super::outline::{self, AGENT, AGENT_INFO, readable};
use super::place::{place, unavailability};
use super::resource::{amount, labelled};
use crate::core::cluster::{
    Agent, Cluster, Known, Leftover, Machine, Namesake, Share, Standing, Stray, Window,
};
use crate::core::resources::Thousandths;
use crate::ids::{AgentId, ExecutorId, FrameworkId};
use bytes::Bytes;
use http_body_util::BodyExt;
use prost::Message;
use proto::mesos::v1;
use proto::mesos::v1::master::{self, call::Type};
use proto::recordio::{Decoder, Limits};
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

const PATH: &str = "/api/v1";
/// How often the master is asked for its agents; less often when its answers take long.
const PERIOD: Duration = Duration::from_secs(3);
const PERIOD_MAX: Duration = Duration::from_secs(60);
/// The pause after a question is at least so many times as long as its answer took.
const REST: u32 = 20;
/// How often the master is asked for its frameworks.
const SLOW_PERIOD: Duration = Duration::from_secs(60);
/// The largest answer that is read: one agent takes a few kilobytes.
const ANSWER_MAX: usize = 256 << 20;
/// The first pause before the stream is opened again, and the longest.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// A stream that is silent for longer is given up: the master sends a sign of life every 15 s.
const SILENCE: Duration = Duration::from_secs(75);

/// The numbers of fields in Mesos' messages.
const GET_AGENTS: u32 = 10;
const AGENTS: u32 = 1;
const RECOVERED_AGENTS: u32 = 2;
const GET_EXECUTORS: u32 = 12;
const EXECUTORS: u32 = 1;
const ORPHAN_EXECUTORS: u32 = 2;
const SUBSCRIBED: u32 = 2;
const GET_STATE: u32 = 1;
const GET_AGENTS_OF_STATE: u32 = 4;

/// What the master said about its cluster.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Told {
    /// These are all agents.
    Agents(Vec<Agent>),
    /// An agent registered, or registered again.
    Added(Box<Agent>),
    /// An agent was removed for good.
    Removed(AgentId),
    /// This is the schedule of maintenance.
    Maintenance(Vec<Window>),
    /// These are the frameworks.
    Cluster(Cluster),
    /// A reservation was given up, or the master refused.
    GivenUp {
        /// On which agent.
        agent: AgentId,
        /// For which role.
        role: String,
        /// Or why not.
        result: Result<(), String>,
    },
    /// The agents could not be listed.
    Failed {
        /// Why.
        why: String,
        /// Whether the master does not allow it.
        denied: bool,
    },
}

/// Who we are to other frameworks.
#[derive(Clone, Debug, Default)]
pub(crate) struct Us {
    /// The name of the framework.
    pub(crate) name: String,
    /// Its roles.
    pub(crate) roles: Vec<String>,
    /// Its principal.
    pub(crate) principal: Option<String>,
}

/// What is asked on whose behalf, and where the answers go.
pub(crate) struct Asking {
    pub(crate) us: Us,
    pub(crate) told: mpsc::Sender<Told>,
    /// What the master is to give up.
    pub(crate) give_up: mpsc::Receiver<Leftover>,
}

/// Asks the master of the subscription and follows its stream, until `stop`. When nobody takes the answers, it waits.
pub(crate) async fn watch_cluster(
    mut master: watch::Receiver<Option<String>>,
    access: Access,
    asking: Asking,
    stop: CancellationToken,
) {
    let Asking { us, told, mut give_up } = asking;
    loop {
        let address = master.borrow_and_update().clone();
        let watching = async {
            match &address {
                Some(address) => {
                    let watcher = Watcher { address, access: &access, us: &us, told: &told };
                    tokio::join!(
                        watcher.ask_again_and_again(),
                        watcher.follow_again_and_again(),
                        watcher.give_up_what_is_left(&mut give_up)
                    );
                }
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            changed = master.changed() => if changed.is_err() { return },
            () = told.closed() => return,
            () = watching => return,
        }
    }
}

struct Watcher<'a> {
    address: &'a str,
    access: &'a Access,
    us: &'a Us,
    told: &'a mpsc::Sender<Told>,
}

impl Watcher<'_> {
    async fn ask_again_and_again(&self) {
        let mut cluster_at = Instant::now();
        loop {
            let began = Instant::now();
            let mut left = Vec::new();
            let look = cluster_at <= began;
            let told = match self.answer(Type::GetAgents).await.and_then(|answer| self.agents(answer, look)) {
                Ok((agents, found)) => {
                    left = found;
                    Told::Agents(agents)
                }
                Err(error) => failed(&error),
            };
            let took = began.elapsed();
            let works = matches!(told, Told::Agents(_));
            if self.told.send(told).await.is_err() {
                return;
            }
            if works {
                match self.ask(Type::GetMaintenanceSchedule).await {
                    Ok(response) => drop(self.told.send(Told::Maintenance(schedule(response))).await),
                    Err(error) => tracing::debug!(%error, "cannot ask for the schedule of maintenance"),
                }
            }
            if works && look {
                cluster_at = began + SLOW_PERIOD;
                match self.cluster().await {
                    Ok(cluster) => {
                        let cluster = Cluster { leftovers: left, ..cluster };
                        drop(self.told.send(Told::Cluster(cluster)).await);
                    }
                    Err(error) => tracing::debug!(%error, "cannot ask for the frameworks"),
                }
            }
            sleep((took * REST).clamp(PERIOD, PERIOD_MAX)).await;
        }
    }

    /// The agents in an answer, and with `look` what they have of reservations that are not needed any more.
    fn agents(&self, answer: Bytes, look: bool) -> Result<(Vec<Agent>, Vec<Leftover>), HttpError> {
        let find = |answer: Bytes| if look { leftovers::find(answer, self.us) } else { Ok(Vec::new()) };
        let read = || Ok((agents_of(answer.clone())?, find(answer.clone())?));
        read().map_err(|garbled: Garbled| self.garbled(&garbled))
    }

    /// Asks the master to take back what nothing uses any more, one agent after the other.
    async fn give_up_what_is_left(&self, give_up: &mut mpsc::Receiver<Leftover>) {
        while let Some(left) = give_up.recv().await {
            let result = self.send(leftovers::unreserve(&left)).await.map(drop).map_err(|e| e.to_string());
            let Leftover { agent, role, .. } = left;
            if self.told.send(Told::GivenUp { agent, role, result }).await.is_err() {
                return;
            }
        }
    }

    async fn ask(&self, what: Type) -> Result<master::Response, HttpError> {
        master::Response::decode(self.answer(what).await?).map_err(|error| self.garbled(&error))
    }

    /// An answer as it comes over the wire.
    async fn answer(&self, what: Type) -> Result<Bytes, HttpError> {
        self.send(call(what)).await
    }

    async fn send(&self, body: Vec<u8>) -> Result<Bytes, HttpError> {
        let mut connection = Connection::open(self.address, self.access.clone()).await?;
        connection.ask(PATH, None, body, ANSWER_MAX).await
    }

    fn garbled(&self, why: &dyn std::error::Error) -> HttpError {
        HttpError::Broken {
            master: self.address.to_owned(),
            why: format!("its answer is no protobuf: {why}"),
        }
    }

    async fn cluster(&self) -> Result<Cluster, HttpError> {
        let frameworks = self.ask(Type::GetFrameworks).await?.get_frameworks.unwrap_or_default();
        let master = self.ask(Type::GetMaster).await?.get_master.unwrap_or_default();
        let executors = strays_in(self.answer(Type::GetExecutors).await?);
        let executors = executors.map_err(|garbled| self.garbled(&garbled))?;
        Ok(cluster(frameworks, master, executors, &self.us.name))
    }

    async fn follow_again_and_again(&self) {
        let mut pause = FIRST_PAUSE;
        loop {
            let began = Instant::now();
            match self.follow().await {
                Ok(()) => return,
                Err(why) => tracing::debug!(why, "the stream of the operator API ended; asking meanwhile"),
            }
            if began.elapsed() > SILENCE {
                pause = FIRST_PAUSE;
            }
            sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    /// One stream from its beginning to its end; `Ok`: nobody listens any more.
    async fn follow(&self) -> Result<(), String> {
        let opening = Connection::open(self.address, self.access.clone());
        let mut connection = opening.await.map_err(|e| e.to_string())?;
        let response = connection.post(PATH, None, call(Type::Subscribe)).await.map_err(|e| e.to_string())?;
        let mut body = response.into_body();
        let mut decoder = Decoder::new(Limits::default());
        loop {
            while let Some(record) = decoder.next().map_err(|e| e.to_string())? {
                if let Some(told) = read(&record)
                    && self.told.send(told).await.is_err()
                {
                    return Ok(());
                }
            }
            let frame = timeout(SILENCE, body.frame()).await.map_err(|_| "no sign of life".to_owned())?;
            let frame = frame.ok_or("the master ended it")?.map_err(|e| e.to_string())?;
            if let Ok(data) = frame.into_data() {
                decoder.push_bytes(data);
            }
        }
    }
}

fn failed(error: &HttpError) -> Told {
    let denied = matches!(error, HttpError::Status { status, .. } if [401, 403].contains(&status.as_u16()));
    Told::Failed { why: error.to_string(), denied }
}

fn call(what: Type) -> Vec<u8> {
    master::Call { r#type: Some(what as i32), ..master::Call::default() }.encode_to_vec()
}

/// Reads one record of the stream; what is of no concern, unknown or garbage is skipped: the next question finds it.
pub(super) fn read(record: &[u8]) -> Option<Told> {
    use master::event::Type;
    let record = Bytes::copy_from_slice(record);
    if is_subscribed(&record) {
        return agents_in(record, &[SUBSCRIBED, GET_STATE, GET_AGENTS_OF_STATE]).ok().map(Told::Agents);
    }
    let event = master::Event::decode(record).ok()?;
    match Type::try_from(event.r#type?).ok()? {
        Type::AgentAdded => registered(event.agent_added?.agent).map(|agent| Told::Added(Box::new(agent))),
        Type::AgentRemoved => Some(Told::Removed(AgentId(event.agent_removed?.agent_id.value))),
        _ => None,
    }
}

/// Whether an event tells the state of the whole cluster.
fn is_subscribed(record: &Bytes) -> bool {
    let mut found = false;
    let looked = each(record.clone(), &[], &mut |field, _| {
        found |= field == SUBSCRIBED;
        Ok(())
    });
    looked.is_ok() && found
}

/// All agents in an answer to `GET_AGENTS`.
pub(super) fn agents_of(answer: Bytes) -> Result<Vec<Agent>, Garbled> {
    agents_in(answer, &[GET_AGENTS])
}

/// All agents in a message in which this path of fields leads to them.
fn agents_in(message: Bytes, path: &[u32]) -> Result<Vec<Agent>, Garbled> {
    let (mut agents, mut back) = (Vec::new(), Vec::new());
    each(message, path, &mut |field, encoded| {
        match field {
            AGENTS => agents.extend(readable(AGENT, &encoded, outline::agent).and_then(registered)),
            RECOVERED_AGENTS => {
                back.extend(readable(AGENT_INFO, &encoded, outline::agent_info).and_then(recovered));
            }
            _ => {}
        }
        Ok(())
    })?;
    agents.append(&mut back);
    Ok(agents)
}

fn recovered(info: v1::AgentInfo) -> Option<Agent> {
    Some(Agent {
        id: AgentId(info.id?.value),
        place: place(info.hostname, info.domain, info.attributes),
        ip: String::new(),
        standing: Standing::NotBack,
        version: String::new(),
        multi_role: true,
        shares: shares(&info.resources, &[]),
        reserved_by: reserved_by(&info.resources),
    })
}

/// All executors in an answer to `GET_EXECUTORS`.
pub(super) fn strays_in(answer: Bytes) -> Result<Vec<Stray>, Garbled> {
    let mut strays = Vec::new();
    each(answer, &[GET_EXECUTORS], &mut |field, encoded| {
        if [EXECUTORS, ORPHAN_EXECUTORS].contains(&field) {
            strays.extend(stray(item(encoded)?));
        }
        Ok(())
    })?;
    Ok(strays)
}

fn stray(executor: master::response::get_executors::Executor) -> Option<Stray> {
    Some(Stray {
        framework: FrameworkId(executor.executor_info.framework_id?.value),
        agent: AgentId(executor.agent_id.value),
        executor: ExecutorId(executor.executor_info.executor_id.value),
    })
}

fn registered(agent: master::response::get_agents::Agent) -> Option<Agent> {
    let standing = standing(&agent);
    let can = |capability| agent.capabilities.iter().any(|c| c.r#type == Some(capability));
    let info = agent.agent_info;
    Some(Agent {
        id: AgentId(info.id?.value),
        place: place(info.hostname, info.domain, info.attributes),
        ip: address(agent.pid.as_deref().unwrap_or_default()),
        standing,
        version: agent.version,
        multi_role: can(v1::agent_info::capability::Type::MultiRole as i32),
        shares: shares(&agent.total_resources, &agent.allocated_resources),
        reserved_by: reserved_by(&agent.total_resources),
    })
}

fn standing(agent: &master::response::get_agents::Agent) -> Standing {
    match &agent.drain_info {
        Some(drain) if drain.state == v1::DrainState::Drained as i32 => Standing::Drained,
        Some(_) => Standing::Draining,
        None if agent.deactivated == Some(true) => Standing::Deactivated,
        None if agent.active => Standing::Active,
        None => Standing::Disconnected,
    }
}

/// The windows of maintenance.
pub(super) fn schedule(response: master::Response) -> Vec<Window> {
    let schedule = response.get_maintenance_schedule.map(|get| get.schedule).unwrap_or_default();
    let machine =
        |id: v1::MachineId| Machine { host: id.hostname.unwrap_or_default(), ip: id.ip.unwrap_or_default() };
    let window = |window: v1::maintenance::Window| Window {
        machines: window.machine_ids.into_iter().map(machine).collect(),
        unavailability: unavailability(&window.unavailability),
    };
    schedule.windows.into_iter().map(window).collect()
}

/// The address in an agent's process id: `slave(1)@10.0.0.7:5051`, `slave(1)@[fd00::7]:5051`.
fn address(pid: &str) -> String {
    let place = pid.rsplit_once('@').map_or("", |(_, place)| place);
    let host = place.rsplit_once(':').map_or(place, |(host, _)| host);
    host.trim_matches(['[', ']']).to_owned()
}

/// Scalar resources and ranges by role and name.
fn shares(total: &[v1::Resource], used: &[v1::Resource]) -> Vec<Share> {
    let mut shares: Vec<Share> = Vec::new();
    for (resources, uses) in [(total, false), (used, true)] {
        for resource in resources {
            let Some(amount) = amount(resource) else { continue };
            let role = reserved_to(resource);
            let at = shares.iter().position(|share| share.role == role && share.name == resource.name);
            let share = match at.and_then(|at| shares.get_mut(at)) {
                Some(share) => share,
                None => {
                    shares.push(Share {
                        role: role.to_owned(),
                        name: resource.name.clone(),
                        total: Thousandths(0),
                        used: Thousandths(0),
                    });
                    let Some(share) = shares.last_mut() else { continue };
                    share
                }
            };
            let sum = if uses { &mut share.used } else { &mut share.total };
            sum.0 += amount.0;
        }
    }
    shares
}

/// Which frameworks of this kind have reserved something, by the labels on their reservations.
fn reserved_by(total: &[v1::Resource]) -> Vec<String> {
    let names = total.iter().filter_map(|resource| labelled(resource.reservations.last()?));
    let names: BTreeSet<&str> = names.collect();
    names.into_iter().map(str::to_owned).collect()
}

/// The role that a resource is reserved to, in the format before and after reservations could be refined.
fn reserved_to(resource: &v1::Resource) -> &str {
    let refined = resource.reservations.last().and_then(|reservation| reservation.role.as_deref());
    refined.or(resource.role.as_deref()).unwrap_or("*")
}

pub(super) fn cluster(
    frameworks: master::response::GetFrameworks,
    master: master::response::GetMaster,
    mut executors: Vec<Stray>,
    name: &str,
) -> Cluster {
    let domain = master.master_info.and_then(|info| info.domain).and_then(|domain| domain.fault_domain);
    let known = |framework: master::response::get_frameworks::Framework| {
        let can = |capability: v1::framework_info::capability::Type| {
            framework.framework_info.capabilities.iter().any(|c| c.r#type == Some(capability as i32))
        };
        let (gpus, region_aware) = (
            can(v1::framework_info::capability::Type::GpuResources),
            can(v1::framework_info::capability::Type::RegionAware),
        );
        let info = framework.framework_info;
        Some(Known {
            id: FrameworkId(info.id?.value),
            name: info.name,
            roles: if info.roles.is_empty() { info.role.into_iter().collect() } else { info.roles },
            active: framework.active,
            connected: framework.connected,
            gpus,
            region_aware,
        })
    };
    let recovered = frameworks.recovered_frameworks.into_iter().filter(|info| info.name == name);
    let recovered = recovered.filter_map(|info| Some(FrameworkId(info.id?.value)));
    let frameworks: Vec<Known> = frameworks.frameworks.into_iter().filter_map(known).collect();
    let known = frameworks.iter().filter(|known| known.name == name);
    let namesakes: Vec<Namesake> = known
        .map(|known| Namesake { id: known.id.clone(), connected: known.connected })
        .chain(recovered.map(|id| Namesake { id, connected: false }))
        .collect();
    executors.retain(|stray| namesakes.iter().any(|namesake| namesake.id == stray.framework));
    let region = domain.map(|domain| domain.region.name);
    Cluster { region, frameworks, namesakes, executors, leftovers: Vec::new() }
}
