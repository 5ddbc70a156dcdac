//! Holds what belongs to one story: its directory, its processes, its containers; and takes all of it down at the end.

use crate::api::Api;
use crate::eventually::eventually;
use crate::output::{Output, output};
use rustix::process::{Pid, Signal, kill_process};
use std::fs::File;
use std::io::Write as _;
use std::net::TcpListener;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::time::Duration;
use tokio::sync::{Semaphore, SemaphorePermit};

/// How long a start may take on a busy machine.
pub(crate) const START: Duration = Duration::from_secs(60);

/// How long anything else may take on a busy machine when nothing is said about its speed.
pub(crate) const SOON: Duration = Duration::from_secs(30);

/// Stories run beside each other, except those that measure time or move much data.
static ROOM: Semaphore = Semaphore::const_new(ROOMS);
const ROOMS: usize = 2;

/// The surroundings of one story.
pub(crate) struct World {
    /// Different for every story; part of its image names.
    pub(crate) id: String,
    dir: tempfile::TempDir,
    _room: SemaphorePermit<'static>,
}

impl World {
    /// Surroundings for a story that may run beside another one.
    pub(crate) async fn new() -> World {
        World::with_rooms(1).await
    }

    /// Surroundings for a story that must have the machine for itself.
    pub(crate) async fn alone() -> World {
        World::with_rooms(u32::try_from(ROOMS).unwrap()).await
    }

    async fn with_rooms(rooms: u32) -> World {
        let room = ROOM.acquire_many(rooms).await.unwrap();
        let dir = tempfile::Builder::new().prefix("logherd-story.").tempdir().unwrap();
        let name = dir.path().file_name().unwrap().to_string_lossy().to_lowercase();
        let id: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
        World { id, dir, _room: room }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A file that an output of this story writes.
    pub(crate) fn output(&self, name: &str) -> Output {
        output(&self.path(name))
    }

    /// An image name that belongs to this story alone, with a slash and a tag in it.
    pub(crate) fn image(&self) -> String {
        format!("{}/nginx:1.27", self.id)
    }

    /// The name of the docker config that matches [`image`](World::image).
    pub(crate) fn image_name(&self) -> String {
        format!("{}/nginx", self.id)
    }

    /// Appends a text to a file.
    pub(crate) fn write(&self, name: &str, text: &str) {
        let mut file = File::options().create(true).append(true).open(self.path(name)).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    /// Appends numbered lines to a file.
    pub(crate) fn append(&self, name: &str, numbers: RangeInclusive<usize>) {
        self.write(name, &numbers.map(|number| format!("line {number}.\n")).collect::<String>());
    }

    /// The part of a configuration that follows a file from its beginning.
    pub(crate) fn follows(&self, name: &str) -> String {
        let path = self.path(name).display().to_string();
        format!(r#"input {{ file {{ path => "{path}" start_position => beginning }} }}"#)
    }

    /// The part of a configuration that writes the messages into a file.
    pub(crate) fn writes(&self, name: &str) -> String {
        let path = self.path(name).display().to_string();
        format!(r#"output {{ file {{ path => "{path}" codec => line {{ format => "%{{message}}" }} }} }}"#)
    }

    /// Starts `logherd local` and waits until every node is covered.
    pub(crate) async fn local(&self, arguments: &[&str]) -> Logherd {
        let logherd = self.start_local(arguments);
        eventually("ready", START, async || logherd.api.ready().await).await;
        logherd
    }

    /// Starts `logherd local`.
    pub(crate) fn start_local(&self, arguments: &[&str]) -> Logherd {
        let data = self.path("data");
        let mut all = vec!["local", "--data-dir", data.to_str().unwrap()];
        all.extend(arguments);
        self.start("local", &all)
    }

    /// Starts the binary with `--listen` on a free port.
    pub(crate) fn start(&self, name: &str, arguments: &[&str]) -> Logherd {
        let port = free_port();
        self.start_with(name, port, &[arguments, &["--listen", &format!("127.0.0.1:{port}")]].concat())
    }

    /// Starts `logherd run` with that configuration, and waits until its node API answers.
    pub(crate) async fn run(&self, config: &str, arguments: &[&str]) -> Logherd {
        let run = self.start_run("run", config, arguments);
        eventually("the pipeline runs", START, async || run.api.get("/_node/stats").await).await;
        run
    }

    /// Starts `logherd run` with that configuration and data of its own; `api` is its node API.
    pub(crate) fn start_run(&self, name: &str, config: &str, arguments: &[&str]) -> Logherd {
        let (file, data) = (self.path(&format!("{name}.conf")), self.path(&format!("{name}-data")));
        std::fs::write(&file, config).unwrap();
        let port = free_port();
        let own = ["run", "-f", file.to_str().unwrap(), "--data-dir", data.to_str().unwrap()];
        self.start_with(name, port, &[&own, &["--api-http-port", &port.to_string()][..], arguments].concat())
    }

    fn start_with(&self, name: &str, port: u16, arguments: &[&str]) -> Logherd {
        let mut logherd = Logherd {
            api: Api::new(port),
            arguments: arguments.iter().map(|&argument| argument.to_owned()).collect(),
            log: self.path(&format!("{name}.log")),
            dir: self.dir.path().to_path_buf(),
            child: None,
        };
        logherd.start_again();
        logherd
    }

    /// The executors of this story that are running, by process id.
    pub(crate) fn executors(&self) -> Vec<u32> {
        processes_of(self.dir.path())
            .into_iter()
            .filter(|process| process.is_executor)
            .map(|process| process.pid)
            .collect()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            show_logs(self.dir.path());
        }
        // Twice: a scheduler that dies in the first round may have started an executor meanwhile.
        for _ in 0..2 {
            processes_of(self.dir.path()).into_iter().for_each(|process| kill(process.pid));
        }
        let label = format!("label=logherd.story={}", self.id);
        let script = r#"docker ps --all --quiet --filter "$1" | xargs -r docker rm --force
            docker ps --all --quiet --filter "ancestor=$2/logherd:0.1.0" | xargs -r docker rm --force
            docker image ls --format '{{.Repository}}:{{.Tag}}' "$2/*" | xargs -r docker rmi"#;
        let mut sweep = Command::new("sh");
        sweep.args(["-c", script, "sweep", &label, &self.id]).stdout(Stdio::null()).stderr(Stdio::null());
        drop(sweep.status());
    }
}

/// A running `logherd`.
pub(crate) struct Logherd {
    pub(crate) api: Api,
    /// What it is started with, `--listen` included.
    pub(crate) arguments: Vec<String>,
    log: PathBuf,
    dir: PathBuf,
    child: Option<Child>,
}

impl Logherd {
    /// Starts it as it was started before.
    pub(crate) fn start_again(&mut self) {
        let log = File::options().create(true).append(true).open(&self.log).unwrap();
        let mut command = Command::new(binary());
        command.args(&self.arguments).env("LOGHERD_STORY", &self.dir).current_dir(&self.dir);
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        self.child = Some(command.spawn().unwrap_or_else(|error| panic!("{}: {error}", binary().display())));
    }

    /// Everything that it printed.
    pub(crate) fn printed(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(self.child.as_ref().unwrap()), signal).unwrap();
    }

    /// Ctrl-C, and waits until it has ended.
    pub(crate) async fn stop(&mut self) -> ExitStatus {
        let mut child = self.child.take().unwrap();
        kill_process(Pid::from_child(&child), Signal::INT).unwrap();
        let ended = async || child.try_wait().unwrap().ok_or_else(|| "still running".to_owned());
        eventually("stopped after Ctrl-C", START, ended).await.0
    }
}

impl Logherd {
    /// Waits until it has ended by itself.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        let mut child = self.child.take().unwrap();
        let ended = async || child.try_wait().unwrap().ok_or_else(|| "still running".to_owned());
        eventually("ended by itself", START, ended).await.0
    }
}

impl Drop for Logherd {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            drop(child.kill());
            drop(child.wait());
        }
    }
}

/// The binary under test: `LOGHERD_BIN`, or the one in the target directory that this test was built in, brought up to date.
pub(crate) fn binary() -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT
        .get_or_init(|| config::settings::environment("LOGHERD_BIN").map_or_else(build, PathBuf::from))
        .clone()
}

fn build() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let profile = test.ancestors().nth(2).unwrap();
    let mut command = Command::new(env!("CARGO"));
    command.args(["build", "--quiet", "--package", "logherd", "--manifest-path"]);
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.toml"));
    command.arg("--target-dir").arg(profile.parent().unwrap());
    if profile.ends_with("release") {
        command.arg("--release");
    }
    let status = command.status().unwrap();
    assert!(status.success(), "the binary under test does not build: {status}");
    profile.join("logherd")
}

/// A port that was free a moment ago.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Ends a process at once.
pub(crate) fn kill(pid: u32) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        kill_process(pid, Signal::KILL).ok();
    }
}

struct Process {
    pid: u32,
    is_executor: bool,
}

/// Every process that has the story's directory in its environment or its arguments.
fn processes_of(dir: &Path) -> Vec<Process> {
    let needle = dir.to_string_lossy().into_owned();
    let own = std::process::id();
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        let read = |file: &str| {
            String::from_utf8_lossy(&std::fs::read(entry.path().join(file)).unwrap_or_default()).into_owned()
        };
        let arguments = read("cmdline");
        if pid != own
            && !arguments.is_empty()
            && (arguments.contains(&needle) || read("environ").contains(&needle))
        {
            let is_executor = arguments.split('\0').nth(1) == Some("executor");
            found.push(Process { pid, is_executor });
        }
    }
    found
}

/// Prints the ends of the logs of a story that failed.
fn show_logs(dir: &Path) {
    let listed = Command::new("find")
        .arg(dir)
        .args([
            "-name", "chromium", "-prune", "-o", "-type", "f", "(", "-name", "*.log", "-o", "-name",
            "stderr", ")", "-print",
        ])
        .output();
    for path in String::from_utf8_lossy(&listed.map(|output| output.stdout).unwrap_or_default()).lines() {
        let text = String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).into_owned();
        let lines: Vec<&str> = text.lines().collect();
        let end = lines[lines.len().saturating_sub(40)..].join("\n");
        eprintln!("---- the end of {path}\n{end}\n");
    }
}
