//! Lets things happen to so many nodes, and takes the figures.

use crate::Wanted;
use crate::crowd::{Nodes, Scheduler};
use crate::process::{busy, load, memory, processor_time};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// How long anything may take before the measurement is given up.
const AT_MOST: Duration = Duration::from_secs(900);
/// How often a state is looked at.
const EVERY: Duration = Duration::from_millis(20);
/// How often something that is expensive to look at is looked at.
const SELDOM: Duration = Duration::from_millis(200);
/// How many edits are made.
const EDITS: usize = 5;

/// The figures of one size.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    pub(crate) nodes: usize,
    /// From the start of the scheduler until all run and are attached.
    pub(crate) all_run: Duration,
    /// The processor time that the scheduler used for it.
    pub(crate) all_run_cpu: Duration,
    /// Offers accepted per second, from the first launch to the last.
    pub(crate) offers_per_second: f64,
    pub(crate) memory_peak: u64,
    pub(crate) rest_cpu: f64,
    pub(crate) rest_memory: u64,
    pub(crate) reports_per_second: f64,
    /// Edits: until the last executor had it, and until the API said that all have applied it; median and worst.
    pub(crate) edit_received: (Duration, Duration),
    pub(crate) edit_acknowledged: (Duration, Duration),
    pub(crate) churn_cpu: f64,
    /// What was asked of Mesos until all ran, and under churn.
    pub(crate) start_calls: Calls,
    pub(crate) churn_calls: Calls,
    pub(crate) churn_memory: u64,
    /// How long an agent that came waited for its executor to run, at worst.
    pub(crate) churn_covered: Duration,
    /// After `kill -9` of the leader: until another one leads, until all are attached to it; and what was launched anew.
    pub(crate) leader: Option<(Duration, Duration, usize)>,
    pub(crate) leader_memory: u64,
    /// The answers for people: `/api/v1/nodes`, `/nodes`, `/metrics`.
    pub(crate) answers: Vec<(&'static str, Duration, usize)>,
    /// How busy the machine was with other things: of its processor time, this benchmark and its scheduler aside.
    pub(crate) others: f64,
    pub(crate) load: f64,
}

/// How often declined offers were asked for, how many calls declined offers, and how many offers that were.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Calls {
    pub(crate) revive: u64,
    pub(crate) decline: u64,
    pub(crate) declined: u64,
}

impl Calls {
    async fn so_far(scheduler: &Scheduler) -> Self {
        let status = scheduler.api.get("/api/v1/status").await.unwrap_or_default();
        let count = |pointer: &str| status.pointer(pointer).and_then(serde_json::Value::as_u64).unwrap_or(0);
        let (revive, decline) = (count("/calls/revive"), count("/calls/decline"));
        Self { revive, decline, declined: count("/offers_declined") }
    }

    fn since(self, before: Self) -> Self {
        Self {
            revive: self.revive - before.revive,
            decline: self.decline - before.decline,
            declined: self.declined - before.declined,
        }
    }
}

/// Measures everything with so many nodes.
pub(crate) async fn measure(size: usize, wanted: &Wanted) -> Figures {
    let mut figures = Figures { nodes: size, ..Figures::default() };
    let began = (Instant::now(), busy(), processor_time(std::process::id()));
    let nodes = Nodes::start(size, wanted).await;
    registered(&nodes).await;
    let mut scheduler = nodes.scheduler(wanted, "scheduler-1");
    start(&nodes, &mut scheduler, &mut figures).await;
    eprintln!("  all run: {figures:.1?}");
    tokio::time::sleep(Duration::from_secs(10)).await;
    (figures.rest_cpu, figures.reports_per_second) =
        watched(&nodes, &scheduler, wanted.watch, async {}).await;
    figures.rest_memory = memory(scheduler.pid(), "VmRSS");
    edits(&nodes, &scheduler, &mut figures).await;
    for path in ["/api/v1/nodes", "/nodes", "/metrics"] {
        let asked = Instant::now();
        let bytes = scheduler.api.text(path).await.map_or(0, |text| text.len());
        figures.answers.push((path, asked.elapsed(), bytes));
    }
    let calls = Calls::so_far(&scheduler).await;
    let mut worst = Duration::ZERO;
    let churn = churn(&nodes, &scheduler, wanted.watch, &mut worst);
    (figures.churn_cpu, _) = watched(&nodes, &scheduler, wanted.watch, churn).await;
    figures.churn_calls = Calls::so_far(&scheduler).await.since(calls);
    (figures.churn_covered, figures.churn_memory) = (worst, memory(scheduler.pid(), "VmRSS"));
    figures.memory_peak = memory(scheduler.pid(), "VmHWM");
    if nodes.zookeeper.is_some() {
        leader_change(&nodes, scheduler, wanted, &mut figures).await;
    } else {
        eprintln!("  SKIPPED: no ZooKeeper here, so there is no other leader; install Debian's `zookeeper`");
    }
    let own = processor_time(std::process::id()) - began.2 + figures.all_run_cpu;
    let others = (busy() - began.1).saturating_sub(own);
    let processors = std::thread::available_parallelism().map_or(1, usize::from) as f64;
    figures.others = others.as_secs_f64() / began.0.elapsed().as_secs_f64() / processors;
    figures.load = load();
    drop(nodes);
    figures
}

/// Waits until the master has all agents: they are there before a framework comes.
async fn registered(nodes: &Nodes) {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = format!("http://{}/metrics/snapshot", nodes.crowd.master());
    until("all agents are registered", SELDOM, async || {
        let text = client.get(&url).send().await.ok()?.text().await.ok()?;
        let metrics: serde_json::Value = serde_json::from_str(&text).ok()?;
        let connected = metrics.get("master/slaves_connected")?.as_f64()?;
        (connected >= nodes.crowd.len() as f64).then_some(())
    })
    .await;
}

async fn start(nodes: &Nodes, scheduler: &mut Scheduler, figures: &mut Figures) {
    let began = Instant::now();
    until("all nodes are covered and attached", SELDOM, async || {
        assert!(scheduler.lives(), "the scheduler has ended; see its log in {}", nodes.dir().display());
        let covered = scheduler.api.number("/api/v1/status", "nodes_covered").await?;
        let attached = nodes.seen.attached.load(Ordering::Relaxed);
        (covered as usize >= figures.nodes && attached >= figures.nodes).then_some(())
    })
    .await;
    figures.all_run = began.elapsed();
    figures.all_run_cpu = processor_time(scheduler.pid());
    let (first, last) = nodes.seen.launch_times.lock().unwrap().unwrap();
    figures.start_calls = Calls::so_far(scheduler).await;
    figures.offers_per_second = figures.nodes as f64 / (last - first).as_secs_f64().max(0.001);
}

/// The part of one processor that the scheduler uses meanwhile, and the reports per second.
async fn watched(
    nodes: &Nodes,
    scheduler: &Scheduler,
    time: Duration,
    meanwhile: impl Future<Output = ()>,
) -> (f64, f64) {
    let reports = || nodes.seen.reports.load(Ordering::Relaxed);
    let (began, cpu, before) = (Instant::now(), processor_time(scheduler.pid()), reports());
    meanwhile.await;
    tokio::time::sleep(time.saturating_sub(began.elapsed())).await;
    let seconds = began.elapsed().as_secs_f64();
    let used = processor_time(scheduler.pid()) - cpu;
    (used.as_secs_f64() / seconds, (reports() - before) as f64 / seconds)
}

/// A host config is changed again and again, beside twenty that stay as they are.
async fn edits(nodes: &Nodes, scheduler: &Scheduler, figures: &mut Figures) {
    let text = |n: usize| {
        let fields: String =
            (0..20).map(|field| format!("    add_field => {{ \"f{field}\" => \"value-{n}\" }}\n")).collect();
        format!("filter {{\n  mutate {{\n{fields}  }}\n}}\n")
    };
    for n in 0..20 {
        let revision = scheduler.api.put(&format!("stays-{n:02}"), &text(n)).await;
        until("all have what stays", SELDOM, async || {
            (nodes.seen.have(revision).0 >= figures.nodes || n < 19).then_some(())
        })
        .await;
    }
    let (mut received, mut acknowledged) = (Vec::new(), Vec::new());
    for n in 0..EDITS {
        tokio::time::sleep(Duration::from_secs(2)).await;
        let began = Instant::now();
        let revision = scheduler.api.put("changes", &text(100 + n)).await;
        until("the edit is applied everywhere", EVERY, async || {
            let documents = scheduler.api.get("/api/v1/documents").await?;
            let all = documents.get("documents")?.as_array()?;
            let changed = all.iter().find(|document| document.get("name").is_some_and(|n| n == "changes"))?;
            let current = changed.get("revision")?.as_u64()? == revision;
            (current && changed.get("on")?.as_u64()? as usize >= figures.nodes).then_some(())
        })
        .await;
        acknowledged.push(began.elapsed());
        let (have, last) = nodes.seen.have(revision);
        assert!(have >= figures.nodes, "{have} have revision {revision}, but more say so");
        received.push(last.unwrap() - began);
    }
    for times in [&mut received, &mut acknowledged] {
        times.sort();
    }
    figures.edit_received = (received[EDITS / 2], received[EDITS - 1]);
    figures.edit_acknowledged = (acknowledged[EDITS / 2], acknowledged[EDITS - 1]);
}

/// One in a hundred leaves and comes back per minute: one half for good, and a new one comes in its place; the other half
/// loses its connection for a while.
async fn churn(nodes: &Nodes, scheduler: &Scheduler, time: Duration, worst: &mut Duration) {
    let per_minute = (nodes.crowd.len() / 100).max(1);
    let every = Duration::from_secs(60) / u32::try_from(per_minute).unwrap();
    let (began, mut next) = (Instant::now(), 0);
    while began.elapsed() < time {
        let agent = next * 7 % nodes.crowd.len();
        if next % 2 == 0 {
            nodes.crowd.leave(agent).await;
            tokio::time::sleep(every / 2).await;
            let launched = nodes.seen.launched.load(Ordering::Relaxed);
            nodes.crowd.return_anew(agent).await;
            let came = Instant::now();
            until("the one that came has an executor", EVERY, async || {
                (nodes.seen.launched.load(Ordering::Relaxed) > launched).then_some(())
            })
            .await;
            *worst = (*worst).max(came.elapsed());
            tokio::time::sleep((every / 2).saturating_sub(came.elapsed())).await;
        } else {
            nodes.crowd.unplug(agent, Duration::from_secs(2)).await;
            tokio::time::sleep(every).await;
        }
        next += 1;
    }
    until("all are covered after the churn", SELDOM, async || {
        let status = scheduler.api.get("/api/v1/status").await?;
        let number = |name: &str| status.get(name).and_then(serde_json::Value::as_u64);
        (number("nodes_covered")? as usize >= nodes.crowd.len()).then_some(())
    })
    .await;
}

async fn leader_change(nodes: &Nodes, mut leader: Scheduler, wanted: &Wanted, figures: &mut Figures) {
    let mut standby = nodes.scheduler(wanted, "scheduler-2");
    until("the other one stands by", SELDOM, async || {
        assert!(standby.lives(), "the standby has ended; see its log in {}", nodes.dir().display());
        let status = standby.api.get("/api/v1/status").await?;
        (status.get("phase")? == "standby").then_some(())
    })
    .await;
    let launched = nodes.seen.launched.load(Ordering::Relaxed);
    let began = Instant::now();
    leader.kill();
    until("all are detached", EVERY, async || {
        (nodes.seen.attached.load(Ordering::Relaxed) < figures.nodes / 2).then_some(())
    })
    .await;
    until("another one leads", EVERY, async || {
        let status = standby.api.get("/api/v1/status").await?;
        (status.get("phase")? == "subscribed").then_some(())
    })
    .await;
    let leads = began.elapsed();
    until("all are attached again", EVERY, async || {
        (nodes.seen.attached.load(Ordering::Relaxed) >= figures.nodes).then_some(())
    })
    .await;
    let attached = began.elapsed();
    until("the new leader says that all run", SELDOM, async || {
        let covered = standby.api.number("/api/v1/status", "nodes_covered").await?;
        (covered as usize >= figures.nodes).then_some(())
    })
    .await;
    // A launch that was wrong would have been decided by now.
    tokio::time::sleep(Duration::from_secs(5)).await;
    let anew = nodes.seen.launched.load(Ordering::Relaxed) - launched;
    figures.leader = Some((leads, attached, anew));
    figures.leader_memory = memory(standby.pid(), "VmHWM");
}

/// Looks again and again until there is something to see.
async fn until<T>(what: &str, every: Duration, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(seen) = look().await {
            return seen;
        }
        assert!(began.elapsed() < AT_MOST, "not within {AT_MOST:?}: {what}");
        tokio::time::sleep(every).await;
    }
}
