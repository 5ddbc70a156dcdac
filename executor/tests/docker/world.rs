//! Holds a world for one executor: an agent and a scheduler made for the test, and containers on a real Docker.
use bytes::Bytes;
use config::settings::{Collecting, ExecutorSettings, MesosEnvironment, Secret, SpoolFull};
use http_body_util::{BodyExt, Either, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use prost::Message;
use proto::control as wire;
use proto::control::control_server::{Control, ControlServer};
use proto::mesos::v1::executor::call::{Subscribe, Type as CallType};
use proto::mesos::v1::executor::event::{Acknowledged, Kill, Launch, Subscribed, Type as EventType};
use proto::mesos::v1::executor::{Call, Event};
use proto::mesos::v1::framework_info::{Capability, capability};
use proto::mesos::v1::{
    AgentId, AgentInfo, ExecutorId, ExecutorInfo, FrameworkInfo, TaskId, TaskInfo, TaskState,
};
use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream, WatchStream};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

pub(crate) const TASK: &str = "task-1";
const PATIENCE: Duration = Duration::from_secs(60);

/// Whether there is a Docker daemon; without one a test says so and passes, except where CI demands one.
pub(crate) fn docker_is_there() -> bool {
    let there = Command::new("docker").arg("info").output().is_ok_and(|output| output.status.success());
    let ci = config::settings::environment("CI").is_some_and(|ci| ci == "true");
    assert!(there || !ci, "there is no Docker daemon, and CI=true");
    if !there {
        eprintln!("SKIPPED: there is no Docker daemon. Start one, or run tests/run, which does.");
    }
    there
}

/// Runs `docker` and answers what it said; panics when it failed.
pub(crate) fn docker(arguments: &[&str]) -> String {
    let output = Command::new("docker").args(arguments).output().unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "docker {arguments:?}: {complaint}");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// An image of its own for each test, so that tests do not see each other's containers.
pub(crate) struct Image(pub(crate) String);

impl Image {
    pub(crate) fn busybox() -> Self {
        let image = Self(fresh_name());
        docker(&["tag", "busybox:local", &image.tagged()]);
        image
    }

    /// An image that holds nothing but these programs of busybox.
    pub(crate) fn with_only(programs: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let bin = dir.path().join("bin");
        std::fs::create_dir_all(&bin).unwrap();
        for program in programs {
            std::fs::copy("/bin/busybox", bin.join(program)).unwrap();
        }
        let image = Self(fresh_name());
        let tar = dir.path().join("image.tar");
        let made =
            Command::new("tar").arg("-cf").arg(&tar).arg("-C").arg(dir.path()).arg("bin").status().unwrap();
        assert!(made.success());
        docker(&["import", "--change", "ENV PATH=/bin", tar.to_str().unwrap(), &image.tagged()]);
        image
    }

    /// An image with the shell and the tools of this machine: those of GNU, where they are not of busybox.
    pub(crate) fn of_this_machine() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let script = r#"
            mkdir -p "$1/bin" "$1/var/log"
            for tool in sh tail head wc sleep cat mv rm mkdir; do
                path=$(readlink -f "$(command -v $tool)")
                cp "$path" "$1/bin/$tool"
                ldd "$path" 2>/dev/null | grep -o '/[^ ]*' | while read -r library; do
                    mkdir -p "$1$(dirname "$library")"
                    cp -L "$library" "$1$library"
                done
            done
            tar -cf "$1.tar" -C "$1" .
        "#;
        let root = dir.path().join("root");
        let made = Command::new("sh").args(["-c", script, "sh"]).arg(&root).status().unwrap();
        assert!(made.success());
        let image = Self(fresh_name());
        let tar = root.with_extension("tar");
        docker(&["import", "--change", "ENV PATH=/bin", tar.to_str().unwrap(), &image.tagged()]);
        image
    }

    pub(crate) fn tagged(&self) -> String {
        format!("{}:1.27", self.0)
    }

    /// Starts a container that runs `script`; it is removed with the value.
    pub(crate) fn run(&self, script: &str) -> Container {
        self.run_argv(&["sh", "-c", script])
    }

    pub(crate) fn run_argv(&self, argv: &[&str]) -> Container {
        let tagged = self.tagged();
        let mut arguments = vec!["run", "--detach", "--network", "none", "--stop-timeout", "1", &tagged];
        arguments.extend_from_slice(argv);
        Container(docker(&arguments))
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        docker(&["rmi", "--force", &self.tagged()]);
    }
}

fn fresh_name() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("logherd-test/p{}-{}/nginx", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// A container, by its full id.
pub(crate) struct Container(pub(crate) String);

impl Container {
    pub(crate) fn exec(&self, script: &str) -> String {
        docker(&["exec", &self.0, "sh", "-c", script])
    }

    /// The command lines of what runs in it, without the second that whoever looks for a rotation waits between two looks.
    pub(crate) fn processes(&self) -> Vec<String> {
        let table = docker(&["top", &self.0, "-eo", "pid,args"]);
        let lines = table.lines().skip(1).map(|line| line.trim().split_once(' ').unwrap_or_default().1);
        lines.map(|line| line.trim().to_owned()).filter(|line| line != "sleep 1").collect()
    }

    pub(crate) fn tails_of(&self, path: &str) -> usize {
        self.processes().iter().filter(|line| line.starts_with("tail ") && line.ends_with(path)).count()
    }

    pub(crate) fn remove(&self) {
        docker(&["rm", "--force", &self.0]);
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        // It may be gone already.
        drop(Command::new("docker").args(["rm", "--force", &self.0]).output());
    }
}

/// Waits until `state` gives something.
pub(crate) async fn eventually<T>(what: &str, mut state: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    let mut look = tokio::time::interval(Duration::from_millis(20));
    loop {
        look.tick().await;
        if let Some(value) = state() {
            return value;
        }
        assert!(began.elapsed() < PATIENCE, "waited in vain: {what}");
    }
}

/// What the executor said, and what it is told.
#[derive(Default)]
pub(crate) struct Heard {
    pub(crate) states: Vec<TaskState>,
    pub(crate) subscriptions: Vec<Subscribe>,
    pub(crate) report: wire::Report,
    pub(crate) applied: Vec<wire::Applied>,
}

type Told = mpsc::Sender<Result<Frame<Bytes>, Infallible>>;

struct Inner {
    heard: Mutex<Heard>,
    subscription: Mutex<Option<Told>>,
    /// What SUBSCRIBE is answered with next: an agent that restarts.
    refusals: Mutex<Vec<u16>>,
    assignment: watch::Sender<wire::Assignment>,
}

/// The world.
pub(crate) struct World {
    inner: Arc<Inner>,
    pub(crate) settings: ExecutorSettings,
    pub(crate) dir: tempfile::TempDir,
    _tasks: JoinSet<()>,
}

impl World {
    pub(crate) async fn new() -> Self {
        // The second one in this process is refused, and not needed.
        drop(rustls::crypto::ring::default_provider().install_default());
        let filter = config::settings::environment("RUST_LOG").unwrap_or_else(|| "warn".to_owned());
        drop(tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).try_init());
        let dir = tempfile::tempdir().unwrap();
        let inner = Arc::new(Inner {
            heard: Mutex::default(),
            subscription: Mutex::default(),
            refusals: Mutex::default(),
            assignment: watch::Sender::new(wire::Assignment::default()),
        });
        let mut tasks = JoinSet::new();
        let agent = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let control = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let settings = settings(
            &agent.local_addr().unwrap().to_string(),
            &control.local_addr().unwrap().to_string(),
            dir.path(),
        );
        tasks.spawn(serve_agent(agent, inner.clone()));
        let service = ControlServer::from_arc(Arc::new(Scheduler(inner.clone())));
        tasks.spawn(async move {
            let server = tonic::transport::Server::builder().add_service(service);
            server.serve_with_incoming(TcpListenerStream::new(control)).await.unwrap();
        });
        Self { inner, settings, dir, _tasks: tasks }
    }

    /// Assigns documents: (docker?, name, text).
    pub(crate) fn assign(&self, documents: &[(wire::Kind, &str, &str)]) -> u64 {
        let mut revision = 0;
        self.inner.assignment.send_modify(|assignment| {
            assignment.revision += 1;
            revision = assignment.revision;
            let document = |(kind, name, text): &(wire::Kind, &str, &str)| wire::Document {
                kind: (*kind).into(),
                name: (*name).to_owned(),
                text: (*text).to_owned(),
                revision,
            };
            assignment.documents = documents.iter().map(document).collect();
        });
        revision
    }

    /// Assigns an image config that reads `path`, and a host config that writes events to a file; answers that file.
    pub(crate) fn assign_path(&self, image: &Image, path: &str) -> PathBuf {
        let out = self.dir.path().join("out.json");
        let input = format!("input {{ file {{ docker-path => \"{path}\" }} }}");
        let output = format!("output {{ file {{ path => \"{}\" codec => json_lines }} }}", out.display());
        self.assign(&[(wire::Kind::Docker, &image.0, &input), (wire::Kind::Host, "out", &output)]);
        out
    }

    pub(crate) fn heard<R>(&self, look: impl FnOnce(&Heard) -> R) -> R {
        look(&self.inner.heard.lock().unwrap())
    }

    /// Waits until the newest revision is applied; answers what could not be.
    pub(crate) async fn applied(&self) -> Vec<wire::Failure> {
        let revision = self.inner.assignment.borrow().revision;
        eventually("the revision is applied", || {
            self.heard(|heard| heard.applied.iter().rev().find(|a| a.revision == revision).cloned())
        })
        .await
        .failures
    }

    /// Waits until the report shows a container in a way.
    pub(crate) async fn container(
        &self,
        container: &Container,
        fits: impl Fn(&wire::Container) -> bool,
    ) -> wire::Container {
        eventually("a container is reported so", || {
            self.heard(|heard| {
                heard.report.containers.iter().find(|c| c.id == container.0).filter(|c| fits(c)).cloned()
            })
        })
        .await
    }

    async fn tell(&self, event: Event) {
        let to = self.inner.subscription.lock().unwrap().clone().unwrap();
        to.send(Ok(frame(&event))).await.unwrap();
    }

    /// The agent goes, and answers so when it is back: the last one first, then as it should.
    pub(crate) fn restart_agent(&self, refusals: &[u16]) {
        *self.inner.refusals.lock().unwrap() = refusals.to_vec();
        *self.inner.subscription.lock().unwrap() = None;
    }

    /// A new executor comes with a new task.
    pub(crate) fn forget_states(&self) {
        self.inner.heard.lock().unwrap().states.clear();
    }

    pub(crate) async fn kill(&self) {
        let kill = Kill { task_id: TaskId { value: TASK.into() }, kill_policy: None };
        self.tell(Event { kill: Some(kill), ..event(EventType::Kill) }).await;
    }

    pub(crate) async fn shut_down(&self) {
        self.tell(event(EventType::Shutdown)).await;
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.heard(|heard| {
                eprintln!("the last report: {:#?}\napplied: {:?}", heard.report, heard.applied)
            });
        }
    }
}

fn settings(agent: &str, control: &str, dir: &Path) -> ExecutorSettings {
    let docker_host = config::settings::environment("DOCKER_HOST");
    ExecutorSettings {
        container_share: config::settings::Share::ALL,
        control: control.to_owned(),
        control_identity: None,
        control_token: Some(Secret::from("token".to_owned())),
        data_dir: Some(dir.join("data")),
        predecessor_data: None,
        beside_predecessor: false,
        collecting: Collecting {
            docker_host: docker_host.unwrap_or_else(|| "unix:///var/run/docker.sock".to_owned()),
            docker_cert_path: None,
            spool_max: "5MB".parse().unwrap(),
            spool_full: SpoolFull::Wait,
        },
        mesos: MesosEnvironment {
            mesos_framework_id: "f1".into(),
            mesos_executor_id: "e1".into(),
            mesos_slave_id: "a1".into(),
            mesos_agent_endpoint: agent.to_owned(),
            mesos_directory: dir.to_owned(),
            mesos_sandbox: None,
            mesos_checkpoint: "1".into(),
            mesos_recovery_timeout: "15mins".into(),
            mesos_subscription_backoff_max: "2secs".into(),
            mesos_executor_shutdown_grace_period: "10secs".into(),
            mesos_executor_authentication_token: None,
            mesos_slave_pid: None,
            mesos_container_name: None,
            mesos_domain_socket: None,
            libprocess_tls: config::settings::LibprocessTls::default(),
        },
    }
}

/// An executor in this process.
pub(crate) struct Executor {
    task: JoinSet<Result<(), executor::Error>>,
    stop: CancellationToken,
}

impl Executor {
    pub(crate) fn start(world: &World) -> Self {
        let stop = CancellationToken::new();
        let mut task = JoinSet::new();
        task.spawn(executor::run(world.settings.clone(), stop.clone()));
        Self { task, stop }
    }

    /// Stops it as SIGTERM does, and waits for its end.
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        self.ended().await;
    }

    pub(crate) async fn ended(mut self) {
        let ended = tokio::time::timeout(PATIENCE, self.task.join_next()).await.unwrap();
        ended.unwrap().unwrap().unwrap();
    }
}

fn event(kind: EventType) -> Event {
    Event { r#type: Some(kind.into()), ..Event::default() }
}

fn frame(event: &Event) -> Frame<Bytes> {
    Frame::data(proto::recordio::encode(&event.encode_to_vec()))
}

async fn serve_agent(listener: TcpListener, inner: Arc<Inner>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let inner = inner.clone();
        let service = service_fn(move |request| answer(inner.clone(), request));
        let http = hyper::server::conn::http1::Builder::new();
        connections.spawn(http.serve_connection(TokioIo::new(stream), service));
    }
}

type Body = Either<Full<Bytes>, StreamBody<ReceiverStream<Result<Frame<Bytes>, Infallible>>>>;

async fn answer(
    inner: Arc<Inner>,
    request: hyper::Request<Incoming>,
) -> Result<hyper::Response<Body>, hyper::Error> {
    let call = Call::decode(request.into_body().collect().await?.to_bytes()).unwrap();
    if call.r#type() == CallType::Subscribe {
        if let Some(status) = inner.refusals.lock().unwrap().pop() {
            let mut refused = hyper::Response::new(Either::Left(Full::default()));
            *refused.status_mut() = hyper::StatusCode::from_u16(status).unwrap();
            return Ok(refused);
        }
        inner.heard.lock().unwrap().subscriptions.push(call.subscribe.clone().unwrap());
        let (told, stream) = mpsc::channel(16);
        let subscribe = call.subscribe.unwrap();
        told.send(Ok(frame(&subscribed()))).await.unwrap();
        if subscribe.unacknowledged_tasks.is_empty() && inner.heard.lock().unwrap().states.is_empty() {
            told.send(Ok(frame(&launch()))).await.unwrap();
        }
        *inner.subscription.lock().unwrap() = Some(told);
        return Ok(hyper::Response::new(Either::Right(StreamBody::new(ReceiverStream::new(stream)))));
    }
    if let Some(update) = call.update {
        let status = update.status;
        inner.heard.lock().unwrap().states.push(status.state());
        let acknowledged = Acknowledged { task_id: status.task_id, uuid: status.uuid.unwrap() };
        let told = inner.subscription.lock().unwrap().clone().unwrap();
        let event = Event { acknowledged: Some(acknowledged), ..event(EventType::Acknowledged) };
        told.send(Ok(frame(&event))).await.unwrap();
    }
    let mut accepted = hyper::Response::new(Either::Left(Full::default()));
    *accepted.status_mut() = hyper::StatusCode::ACCEPTED;
    Ok(accepted)
}

fn subscribed() -> Event {
    let killing = Capability { r#type: Some(capability::Type::TaskKillingState.into()) };
    Event {
        subscribed: Some(Subscribed {
            executor_info: ExecutorInfo {
                executor_id: ExecutorId { value: "e1".into() },
                ..Default::default()
            },
            framework_info: FrameworkInfo { capabilities: vec![killing], ..Default::default() },
            agent_info: AgentInfo { hostname: "node-7".into(), ..Default::default() },
            container_id: None,
        }),
        ..event(EventType::Subscribed)
    }
}

fn launch() -> Event {
    let task = TaskInfo {
        name: "logherd.executor".into(),
        task_id: TaskId { value: TASK.into() },
        agent_id: AgentId { value: "a1".into() },
        ..Default::default()
    };
    Event { launch: Some(Launch { task }), ..event(EventType::Launch) }
}

struct Scheduler(Arc<Inner>);

#[tonic::async_trait]
impl Control for Scheduler {
    type AttachStream = Pin<Box<dyn tokio_stream::Stream<Item = Result<wire::ToExecutor, Status>> + Send>>;

    async fn attach(
        &self,
        request: Request<Streaming<wire::FromExecutor>>,
    ) -> Result<Response<Self::AttachStream>, Status> {
        let (inner, mut said) = (self.0.clone(), request.into_inner());
        let assignments = WatchStream::new(inner.assignment.subscribe());
        let told = assignments.filter(|assignment| assignment.revision > 0).map(|assignment| {
            Ok(wire::ToExecutor { body: Some(wire::to_executor::Body::Assignment(assignment)) })
        });
        // Listening lives as long as telling does.
        let mut listening = JoinSet::new();
        listening.spawn(async move {
            while let Ok(Some(message)) = said.message().await {
                let mut heard = inner.heard.lock().unwrap();
                match message.body {
                    Some(wire::from_executor::Body::Report(report)) => heard.report = report,
                    Some(wire::from_executor::Body::Applied(applied)) => heard.applied.push(applied),
                    _ => {}
                }
            }
        });
        let told = told.map(move |item| {
            let _listening = &listening;
            item
        });
        Ok(Response::new(Box::pin(told)))
    }
}

/// The events in an output file. A line that a killed executor left unfinished is none.
pub(crate) fn events(out: &Path) -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(out).unwrap_or_default();
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    whole.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// The messages of the events in an output file.
pub(crate) fn messages(out: &Path) -> Vec<String> {
    events(out).iter().map(|event| event["message"].as_str().unwrap().to_owned()).collect()
}
