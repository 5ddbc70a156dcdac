//! Holds the state of this node: what is wanted, the units that run, and what is said about them.
use crate::assign::{self, Documents, Failure, Hash, UnitId, Wanted};
use crate::assignment::Assignment;
use crate::containers::{Container, Seen};
use crate::leftovers::{KEEP_UNWANTED, Leftover};
use crate::report::{
    Applied, ContainerReport, ContainerState, Counters, PipelineReport, Report, resident_bytes,
};
use crate::spool::Identity;
use crate::tail::{TailState, TailStatus};
use crate::unit::{Place, Subject, Unit, View, Wish};
use config::document::{Key, Kind, Revision};
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// How long a unit that is not wanted any more may drain. What is not through by then stays in its spools.
const UNWANTED_WITHIN: Duration = Duration::from_millis(600);

/// A unit as its node sees it.
#[derive(Debug)]
struct Handle {
    wish: watch::Sender<Wish>,
    view: Arc<Mutex<View>>,
    subject: Option<Subject>,
}

impl Handle {
    fn view(&self) -> View {
        self.view.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn is_ending(&self) -> bool {
        let wish = self.wish.borrow();
        wish.ended || wish.stop.is_some()
    }

    /// Changes the wish; an unchanged one wakes nobody.
    fn wish(&self, wanted: Option<Wanted>, ended: bool, stop: Option<Instant>) {
        self.wish.send_if_modified(|wish| {
            let hash = wish.wanted.hash;
            let before = (hash, wish.ended, wish.stop);
            if let Some(wanted) = wanted {
                wish.wanted = wanted;
            }
            wish.ended |= ended;
            wish.stop = match (wish.stop, stop) {
                (Some(one), Some(other)) => Some(one.min(other)),
                (one, other) => one.or(other),
            };
            before != (wish.wanted.hash, wish.ended, wish.stop)
        });
    }
}

/// The node.
pub(crate) struct Node {
    place: Place,
    documents: Documents,
    /// Whether there is an assignment.
    assigned: bool,
    seen: Seen,
    units: BTreeMap<UnitId, Handle>,
    tasks: JoinSet<(UnitId, Counters)>,
    /// Containers that do not run and have something left to ship, by id.
    to_finish: BTreeMap<String, Container>,
    /// Containers that ran while nobody watched, and are not shipped yet.
    missed: BTreeSet<String>,
    /// What units did that are gone.
    past: Counters,
    /// Set when the node drains.
    drain_by: Option<Instant>,
}

impl Node {
    pub(crate) fn new(place: Place) -> Self {
        Self {
            place,
            documents: Documents::default(),
            assigned: false,
            seen: Seen::default(),
            units: BTreeMap::new(),
            tasks: JoinSet::new(),
            to_finish: BTreeMap::new(),
            missed: BTreeSet::new(),
            past: Counters::default(),
            drain_by: None,
        }
    }

    /// Takes a newer assignment.
    pub(crate) fn assign(&mut self, assignment: &Assignment) {
        self.documents.update(assignment, &environment);
        self.assigned = true;
        for failure in self.documents.failures() {
            tracing::warn!(document = %failure.key, reason = failure.reason, "a document cannot be applied");
        }
        tracing::info!(revision = %assignment.revision, "applying a revision");
        self.compare();
    }

    /// Takes what is seen of Docker now.
    pub(crate) fn see(&mut self, seen: Seen) {
        self.seen = seen;
        self.compare();
    }

    /// The containers about whose spools nothing needs to be found out: they run, or are being dealt with.
    pub(crate) fn known_containers(&self) -> Option<BTreeSet<String>> {
        if !self.seen.listed || self.seen.docker.is_none() {
            return None;
        }
        let running = self.seen.containers.iter().filter(|(_, c)| c.running).map(|(id, _)| id);
        let units = self.units.keys().filter_map(|unit| match unit {
            UnitId::Container(id) => Some(id),
            UnitId::Host => None,
        });
        Some(running.chain(units).chain(self.to_finish.keys()).cloned().collect())
    }

    /// Takes what a look through the spools found. With `first`, containers that stopped while no executor ran get a last
    /// look too.
    pub(crate) fn found(&mut self, leftovers: Vec<Leftover>, first: bool) {
        let known = self.known_containers().unwrap_or_default();
        for leftover in leftovers {
            let Identity { container: id, name, image, .. } = leftover.identity.clone();
            let exists = self.seen.containers.contains_key(&id);
            if known.contains(&id) {
                continue;
            }
            if leftover.held == 0 && !exists {
                tracing::debug!(container = id, "the spool of a container that is gone is removed");
                leftover.remove();
            } else if !exists && self.is_unwanted(&image) {
                self.keep_for_a_while(&leftover);
            } else if leftover.held > 0 || first {
                leftover.note_wanted();
                self.to_finish.insert(id, Container { name, image, running: false, ended: None });
            }
        }
        self.compare();
    }

    /// Looks for containers that ended since `last`, when containers were last watched: they may have no spool at all.
    pub(crate) fn look_for_missed(&mut self, last: Timestamp) {
        let ended = |c: &Container| !c.running && c.ended.is_some_and(|ended| ended >= last);
        let missed = self.seen.containers.iter().filter(|(_, container)| ended(container));
        self.missed.extend(missed.map(|(id, _)| id.clone()));
        self.compare();
    }

    /// Whether every container that ran while nobody watched is dealt with: until then those would be lost with us.
    pub(crate) fn is_caught_up(&self) -> bool {
        self.missed.is_empty() && self.drain_by.is_none() && self.known_containers().is_some()
    }

    /// Those of the missed containers that are still there and that a config is for are to be finished.
    fn finish_missed(&mut self) {
        let containers = self.seen.containers.clone();
        for id in std::mem::take(&mut self.missed) {
            let there = containers.get(&id).filter(|container| !container.running);
            let Some(container) = there.filter(|c| self.documents.for_image(&c.image).is_some()) else {
                continue;
            };
            if !self.units.contains_key(&UnitId::Container(id.clone())) && !self.to_finish.contains_key(&id) {
                tracing::info!(
                    container = id,
                    name = container.name,
                    "it ran while no executor did; reading it now"
                );
                self.to_finish.insert(id.clone(), container.clone());
            }
            self.missed.insert(id);
        }
    }

    /// Whether it is known that no pipeline takes what is left of a container of this image.
    fn is_unwanted(&self, image: &str) -> bool {
        self.assigned && self.documents.for_image(image).is_none_or(|wanted| wanted.parts.is_err())
    }

    /// Keeps a spool that no pipeline wants for [`KEEP_UNWANTED`], then removes it and counts what is lost.
    fn keep_for_a_while(&mut self, leftover: &Leftover) {
        let Identity { container, name, path, .. } = &leftover.identity;
        if leftover.unwanted_for.is_none_or(|duration| duration < KEEP_UNWANTED) {
            leftover.note_unwanted();
            return;
        }
        let lines = leftover.lines();
        tracing::warn!(
            container,
            name,
            path,
            lines,
            bytes = leftover.held,
            "the spool of a container that is gone is removed: for a day no pipeline wanted it; its lines are lost"
        );
        self.past.dropped_lines += lines;
        leftover.remove();
    }

    /// Begins to drain everything.
    pub(crate) fn drain(&mut self, by: Instant) {
        self.drain_by = Some(self.drain_by.map_or(by, |earlier| earlier.min(by)));
        for handle in self.units.values() {
            handle.wish(None, false, self.drain_by);
        }
    }

    /// Whether everything is drained, once that was begun.
    pub(crate) fn is_drained(&self) -> bool {
        self.drain_by.is_some() && self.units.is_empty()
    }

    /// Waits for the end of a unit. May be dropped and called again.
    pub(crate) async fn unit_end(&mut self) -> Option<Result<(UnitId, Counters), tokio::task::JoinError>> {
        self.tasks.join_next().await
    }

    /// Takes the end of a unit.
    pub(crate) fn unit_ended(&mut self, id: &UnitId, counters: Counters) {
        self.past += counters;
        self.units.remove(id);
        if let UnitId::Container(container) = id {
            self.to_finish.remove(container);
            self.missed.remove(container);
        }
        self.compare();
    }

    /// Compares what is wanted with the units that are there, and tells them.
    fn compare(&mut self) {
        if !self.assigned || self.drain_by.is_some() {
            return;
        }
        let wanted = assign::wanted(&self.documents, &self.seen.containers);
        for (id, wanted) in &wanted {
            match self.units.get(id) {
                // One that is ending ends first; then this is looked at again.
                Some(handle) if handle.is_ending() => {}
                Some(handle) => handle.wish(Some(wanted.clone()), false, None),
                None => self.start(id, wanted.clone(), false),
            }
        }
        for (id, handle) in &self.units {
            if wanted.contains_key(id) {
                continue;
            }
            match self.still_wanted(id, handle) {
                Some(wanted) => handle.wish(Some(wanted), true, None),
                None => handle.wish(None, false, Some(Instant::now() + UNWANTED_WITHIN)),
            }
        }
        self.finish_missed();
        // The next look through the spools finds what is left of those again.
        let mut to_finish = std::mem::take(&mut self.to_finish);
        to_finish.retain(|id, container| {
            self.seen.containers.contains_key(id)
                || self.units.contains_key(&UnitId::Container(id.clone()))
                || !self.is_unwanted(&container.image)
        });
        self.to_finish = to_finish;
        for (id, container) in self.to_finish.clone() {
            let unit = UnitId::Container(id);
            if self.units.contains_key(&unit) || wanted.contains_key(&unit) {
                continue;
            }
            if let Some(wanted) = self.documents.for_image(&container.image).filter(|w| w.parts.is_ok()) {
                self.start(&unit, wanted, true);
            }
        }
    }

    /// What a unit whose container does not run should still ship with.
    fn still_wanted(&self, id: &UnitId, handle: &Handle) -> Option<Wanted> {
        let UnitId::Container(container) = id else { return None };
        if self.seen.containers.get(container).is_some_and(|c| c.running) {
            return None;
        }
        self.documents.for_image(&handle.subject.as_ref()?.image)
    }

    fn start(&mut self, id: &UnitId, wanted: Wanted, ended: bool) {
        let subject = match id {
            UnitId::Host => None,
            UnitId::Container(id) => {
                let there = self.seen.containers.get(id);
                let Some(container) = there.or_else(|| self.to_finish.get(id)) else { return };
                Some(Subject {
                    id: id.clone(),
                    name: container.name.clone(),
                    image: container.image.clone(),
                    docker: self.seen.docker.clone().filter(|_| there.is_some()),
                })
            }
        };
        // Without a daemon a tail would take its source for ended: such a unit starts once the daemon is back.
        if subject.as_ref().is_some_and(|subject| subject.docker.is_none() && !ended) {
            return;
        }
        let (wish, watch_wish) = watch::channel(Wish { wanted, ended, stop: None });
        let view = Arc::new(Mutex::new(View::default()));
        let unit = Unit::new(id.clone(), self.place.clone(), subject.clone(), watch_wish, view.clone());
        self.tasks.spawn(unit.run());
        self.units.insert(id.clone(), Handle { wish, view, subject });
    }

    /// What became of the newest assignment: once Docker has answered, one way or the other, and every unit has tried.
    pub(crate) fn applied(&self) -> Option<Applied> {
        let docker_known = self.seen.listed || !self.seen.detail.is_empty();
        let settled = self.units.values().all(|handle| {
            let wanted: Hash = handle.wish.borrow().wanted.hash;
            handle.is_ending() || handle.view().settled == Some(wanted)
        });
        if !self.assigned || !docker_known || !settled {
            return None;
        }
        let mut failures = self.documents.failures();
        for handle in self.units.values() {
            let (view, wanted) = (handle.view(), handle.wish.borrow().wanted.clone());
            if view.works || wanted.parts.is_err() || handle.is_ending() {
                continue;
            }
            let key = wanted.config.unwrap_or(Key { kind: Kind::Host, name: "host".to_owned() });
            failures.push(Failure { key, reason: view.reason });
        }
        failures.sort();
        failures.dedup();
        Some(Applied { revision: self.documents.revision(), failures })
    }

    /// How the node is.
    pub(crate) fn report(&self) -> Report {
        let views: BTreeMap<&UnitId, View> = self.units.iter().map(|(id, h)| (id, h.view())).collect();
        let mut counters = self.past;
        views.values().for_each(|view| counters += view.counters);
        let pipelines = self.units.iter().filter_map(|(id, handle)| {
            let view = views.get(id)?;
            Some(PipelineReport {
                id: self.pipeline_name(handle),
                state: if handle.is_ending() { "draining".to_owned() } else { view.state.to_owned() },
                reason: view.reason.clone(),
                counters: view.counters,
            })
        });
        let revision = if self.assigned { self.documents.revision() } else { Revision::default() };
        Report {
            revision,
            docker_reachable: self.seen.docker.is_some(),
            docker_detail: self.seen.detail.clone(),
            containers: self.container_reports(&views),
            pipelines: pipelines.collect(),
            counters,
            resident_bytes: resident_bytes(),
        }
    }

    fn pipeline_name(&self, handle: &Handle) -> String {
        match (&handle.subject, &handle.wish.borrow().wanted.config) {
            (Some(subject), Some(config)) => format!("{} @ {}", config.name, subject.name),
            (Some(subject), None) => subject.name.clone(),
            (None, _) => "host".to_owned(),
        }
    }

    fn container_reports(&self, views: &BTreeMap<&UnitId, View>) -> Vec<ContainerReport> {
        let mut reports = BTreeMap::new();
        for (id, container) in self.seen.containers.iter().filter(|(_, c)| c.running) {
            reports.insert(id, self.container_report(id, container, views));
        }
        for (unit, handle) in &self.units {
            if let (UnitId::Container(id), Some(subject)) = (unit, &handle.subject) {
                let Subject { name, image, .. } = subject.clone();
                let container = Container { name, image, running: false, ended: None };
                reports.entry(id).or_insert_with(|| self.container_report(id, &container, views));
            }
        }
        reports.into_values().collect()
    }

    fn container_report(
        &self,
        id: &str,
        container: &Container,
        views: &BTreeMap<&UnitId, View>,
    ) -> ContainerReport {
        let unit = UnitId::Container(id.to_owned());
        let view = views.get(&unit);
        let ending = self.units.get(&unit).is_some_and(Handle::is_ending);
        let config = self.documents.applicable(&container.image).map(|key| key.name);
        let (state, reason) = match view {
            _ if ending => (ContainerState::Draining, "it ended; what was read of it is shipped".to_owned()),
            None if config.is_none() && self.assigned => {
                (ContainerState::NotMatched, "no docker config matches its image".to_owned())
            }
            None => (ContainerState::NotMatched, "waiting for the first configuration".to_owned()),
            Some(view) => state_of(view),
        };
        ContainerReport {
            id: id.to_owned(),
            name: container.name.clone(),
            image: container.image.clone(),
            state,
            reason,
            config: config.unwrap_or_default(),
            tails: view.map(|view| view.tails.clone()).unwrap_or_default(),
        }
    }
}

/// A container streams when its pipeline works and at least one of its files is open and goes through.
fn state_of(view: &View) -> (ContainerState, String) {
    if view.settled.is_some() && !view.works {
        return (ContainerState::Error, view.reason.clone());
    }
    let reads = |tail: &TailStatus| {
        tail.held_up.is_empty() && matches!(tail.state, TailState::Reading(_) | TailState::WaitingForRoom)
    };
    let trouble = |tail: &TailStatus| match &tail.state {
        _ if !tail.held_up.is_empty() => Some(format!("{}: {}", tail.path, tail.held_up)),
        TailState::Waiting(why) => Some(format!("waiting for {}: {why}", tail.path)),
        TailState::NotReading(_) => Some(format!("{}: {}", tail.path, tail.state)),
        TailState::Starting | TailState::Reading(_) | TailState::WaitingForRoom | TailState::Ended => None,
    };
    if view.tails.iter().any(reads) || (view.settled.is_some() && view.tails.is_empty()) {
        return (ContainerState::Streaming, view.reason.clone());
    }
    match view.tails.iter().find_map(trouble) {
        Some(reason) => (ContainerState::Error, reason),
        None if view.tails.iter().any(|tail| tail.state == TailState::Ended) => {
            (ContainerState::Draining, "its files have ended".to_owned())
        }
        None => (ContainerState::NotMatched, "its config applies; its files are being opened".to_owned()),
    }
}

/// The environment for `${NAME}` in configurations, without what was given to this process in confidence.
fn environment(name: &str) -> Option<String> {
    let confidential =
        ["LOGHERD_CONTROL_TOKEN", "LOGHERD_CONTROL_IDENTITY", "MESOS_EXECUTOR_AUTHENTICATION_TOKEN"];
    if confidential.contains(&name) { None } else { config::settings::environment(name) }
}

#[cfg(test)]
mod tests;
