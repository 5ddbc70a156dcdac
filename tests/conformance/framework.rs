//! A scheduler that does exactly what an assertion needs.

use crate::place::Place;
use crate::wire::{Events, Http, PLAIN, PROTOBUF};
use mesos::framework_info::Capability;
use mesos::framework_info::capability::Type as Can;
use prost::Message;
use proto::mesos::v1::{self as mesos, scheduler};
use reqwest::Method;
use scheduler::call::Type;
use std::time::Duration;

/// A subscribed framework. It ends with its connection, and its tasks with it.
pub(crate) struct Framework {
    pub(crate) http: Http,
    pub(crate) id: mesos::FrameworkId,
    pub(crate) stream_id: String,
    pub(crate) events: Events<scheduler::Event>,
    /// Offers that came and were not used yet.
    offers: Vec<mesos::Offer>,
    patience: Duration,
}

/// How a framework of this suite describes itself.
pub(crate) fn info(place: &Place) -> mesos::FrameworkInfo {
    let all = [
        Can::MultiRole,
        Can::ReservationRefinement,
        Can::PartitionAware,
        Can::TaskKillingState,
        Can::GpuResources,
        Can::RegionAware,
    ];
    mesos::FrameworkInfo {
        user: place.user.clone(),
        name: "logherd conformance".into(),
        checkpoint: Some(true),
        principal: place.credentials.as_ref().map(|(principal, _)| principal.clone()),
        roles: vec![place.role.clone()],
        capabilities: all.into_iter().map(|can| Capability { r#type: Some(can.into()) }).collect(),
        ..Default::default()
    }
}

/// The body of a SUBSCRIBE.
pub(crate) fn subscribe(info: mesos::FrameworkInfo) -> scheduler::Call {
    scheduler::Call {
        framework_id: info.id.clone(),
        r#type: Some(Type::Subscribe.into()),
        subscribe: Some(scheduler::call::Subscribe { framework_info: info, ..Default::default() }),
        ..Default::default()
    }
}

impl Framework {
    pub(crate) async fn new(place: &Place) -> Self {
        Self::with(place, info(place)).await
    }

    pub(crate) async fn with(place: &Place, info: mesos::FrameworkInfo) -> Self {
        let http = Http::new(place);
        let (stream_id, mut events) = Self::open(place, &http, &subscribe(info)).await;
        let subscribed = events.find("SUBSCRIBED", |event| event.subscribed).await;
        Self {
            http,
            id: subscribed.framework_id,
            stream_id,
            events,
            offers: Vec::new(),
            patience: place.patience,
        }
    }

    /// A stream for a SUBSCRIBE, whatever comes on it.
    pub(crate) async fn open(
        place: &Place,
        http: &Http,
        call: &scheduler::Call,
    ) -> (String, Events<scheduler::Event>) {
        let answer = http.ask(Method::POST, "/api/v1/scheduler", &PLAIN, call.encode_to_vec()).await;
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()["content-type"], PROTOBUF);
        let stream_id = answer.headers()["mesos-stream-id"].to_str().unwrap().to_owned();
        assert!(!stream_id.is_empty() && stream_id.len() <= 128);
        (stream_id, Events::new(answer, place.patience))
    }

    /// The status of a call with this stream id.
    pub(crate) async fn call_with(&self, stream_id: Option<&str>, kind: Type, call: scheduler::Call) -> u16 {
        let framework_id = Some(self.id.clone());
        let call = scheduler::Call { r#type: Some(kind.into()), framework_id, ..call };
        let mut headers = PLAIN.to_vec();
        headers.extend(stream_id.map(|id| ("mesos-stream-id", id)));
        self.http.status(&headers, call.encode_to_vec()).await
    }

    pub(crate) async fn call(&self, kind: Type, call: scheduler::Call) -> u16 {
        self.call_with(Some(&self.stream_id), kind, call).await
    }

    /// A call that is accepted, whatever becomes of it.
    pub(crate) async fn tell(&self, kind: Type, call: scheduler::Call) {
        assert_eq!(self.call(kind, call).await, 202, "{kind:?}");
    }

    pub(crate) async fn tear_down(mut self) {
        self.tell(Type::Teardown, scheduler::Call::default()).await;
        self.events.rest().await;
    }

    /// The first event of which the function makes something. Offers that come before it are kept.
    pub(crate) async fn find<T>(
        &mut self,
        what: &str,
        mut wanted: impl FnMut(scheduler::Event) -> Option<T>,
    ) -> T {
        let kept = &mut self.offers;
        let look = |event: scheduler::Event| {
            if let Some(rescinded) = &event.rescind {
                kept.retain(|offer: &mesos::Offer| offer.id != rescinded.offer_id);
            }
            let offers = event.offers.clone();
            let found = wanted(event);
            if found.is_none() {
                kept.extend(offers.into_iter().flat_map(|offers| offers.offers));
            }
            found
        };
        self.events.find(what, look).await
    }

    /// An offer of any agent that has room for a task of this suite.
    pub(crate) async fn offer(&mut self) -> mesos::Offer {
        self.offer_that("an offer with room", |offer| {
            free(offer, "cpus") >= 0.1 && free(offer, "mem") >= 64.0
        })
        .await
    }

    /// An offer that is as wanted. Others are given back, so that pieces of one agent come together again.
    pub(crate) async fn offer_that(
        &mut self,
        what: &str,
        wanted: impl Fn(&mesos::Offer) -> bool,
    ) -> mesos::Offer {
        let patience = self.patience;
        let found = tokio::time::timeout(patience, async {
            loop {
                if let Some(index) = self.offers.iter().position(&wanted) {
                    return self.offers.remove(index);
                }
                let others = self.offers.drain(..).map(|offer| offer.id).collect();
                self.decline(others, 0.0).await;
                let offers = self.find("OFFERS", |event| event.offers).await.offers;
                self.offers.extend(offers);
            }
        });
        found.await.unwrap_or_else(|_| panic!("not in time: {what}"))
    }

    pub(crate) async fn decline(&self, offer_ids: Vec<mesos::OfferId>, refuse_seconds: f64) {
        if offer_ids.is_empty() {
            return;
        }
        let filters = Some(mesos::Filters { refuse_seconds: Some(refuse_seconds) });
        let decline = Some(scheduler::call::Decline { offer_ids, filters });
        self.tell(Type::Decline, scheduler::Call { decline, ..Default::default() }).await;
    }

    pub(crate) async fn accept(
        &self,
        offer_ids: Vec<mesos::OfferId>,
        operations: Vec<mesos::offer::Operation>,
    ) {
        let filters = Some(mesos::Filters { refuse_seconds: Some(0.0) });
        let accept = Some(scheduler::call::Accept { offer_ids, operations, filters });
        self.tell(Type::Accept, scheduler::Call { accept, ..Default::default() }).await;
    }

    /// The next status, acknowledged if it wants to be.
    pub(crate) async fn status(&mut self) -> mesos::TaskStatus {
        let status = self.find("UPDATE", |event| event.update).await.status;
        self.acknowledge(&status).await;
        status
    }

    pub(crate) async fn acknowledge(&self, status: &mesos::TaskStatus) {
        let Some(uuid) = status.uuid.clone() else { return };
        let acknowledge = Some(scheduler::call::Acknowledge {
            agent_id: status.agent_id.clone().expect("an agent's update names it"),
            task_id: status.task_id.clone(),
            uuid,
        });
        self.tell(Type::Acknowledge, scheduler::Call { acknowledge, ..Default::default() }).await;
    }

    pub(crate) async fn reconcile(&self, tasks: Vec<scheduler::call::reconcile::Task>) {
        let reconcile = Some(scheduler::call::Reconcile { tasks });
        self.tell(Type::Reconcile, scheduler::Call { reconcile, ..Default::default() }).await;
    }
}

/// How much of a scalar an offer holds that nobody has reserved.
fn free(offer: &mesos::Offer, name: &str) -> f64 {
    let plain = |resource: &&mesos::Resource| {
        let reserved =
            !resource.reservations.is_empty() || resource.role.as_deref().is_some_and(|role| role != "*");
        resource.name == name && !reserved && resource.revocable.is_none()
    };
    offer
        .resources
        .iter()
        .filter(plain)
        .filter_map(|resource| resource.scalar)
        .map(|scalar| scalar.value)
        .sum()
}

pub(crate) fn scalar(name: &str, value: f64) -> mesos::Resource {
    mesos::Resource {
        name: name.into(),
        r#type: mesos::value::Type::Scalar.into(),
        scalar: Some(mesos::value::Scalar { value }),
        ..Default::default()
    }
}

/// An id that nobody has used.
pub(crate) fn fresh(name: &str) -> String {
    format!("{name}-{}", uuid::Uuid::new_v4())
}

/// A task on a custom executor of its own that runs this program.
pub(crate) fn task(offer: &mesos::Offer, program: &[&str]) -> mesos::TaskInfo {
    let name = fresh("conformance");
    mesos::TaskInfo {
        name: "conformance".into(),
        task_id: mesos::TaskId { value: format!("task-{name}") },
        agent_id: offer.agent_id.clone(),
        resources: vec![scalar("cpus", 0.01), scalar("mem", 1.0)],
        executor: Some(mesos::ExecutorInfo {
            executor_id: mesos::ExecutorId { value: format!("executor-{name}") },
            r#type: Some(mesos::executor_info::Type::Custom.into()),
            command: Some(mesos::CommandInfo {
                shell: Some(false),
                value: program.first().map(|name| (*name).to_owned()),
                arguments: program.iter().map(|word| (*word).to_owned()).collect(),
                ..Default::default()
            }),
            resources: vec![scalar("cpus", 0.05), scalar("mem", 32.0)],
            shutdown_grace_period: Some(mesos::DurationInfo { nanoseconds: 500_000_000 }),
            ..Default::default()
        }),
        ..Default::default()
    }
}

pub(crate) fn launch(task_infos: Vec<mesos::TaskInfo>) -> mesos::offer::Operation {
    mesos::offer::Operation {
        r#type: Some(mesos::offer::operation::Type::Launch.into()),
        launch: Some(mesos::offer::operation::Launch { task_infos }),
        ..Default::default()
    }
}
