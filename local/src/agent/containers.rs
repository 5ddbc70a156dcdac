//! Runs containers: a sandbox directory, a real child process in a process group of its own, and its end.

use super::core::{ContainerId, Input, Launch};
use super::environment::{AgentSide, environment};
use super::fetch::fetch_all;
use super::image;
use super::layout::Layout;
use super::process::{CANNOT_EXECUTE, KILLED, Process, UNKNOWN};
use crate::faults::Fault;
use mesos::CommandInfo;
use proto::mesos::v1 as mesos;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, symlink};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Starts a container and reports what becomes of it. Ends when the container has ended.
pub(crate) async fn run(
    launch: Launch,
    agent: AgentSide,
    (work_dir, faults): (PathBuf, Vec<Fault>),
    destroy: CancellationToken,
    events: mpsc::Sender<Input>,
) {
    let container = launch.run.container.clone();
    let sandbox = Layout::new(&work_dir, &launch.agent_id).sandbox(&launch.run);
    let prepared = tokio::select! {
        prepared = prepare(&launch, &sandbox, &faults) => prepared,
        () = destroy.cancelled() => {
            return report(&events, Input::Exited { container, status: KILLED }).await;
        }
    };
    if let Err(problem) = prepared {
        note(&sandbox, &problem);
        let cause = format!("Failed to fetch all URIs for container '{}': exited with status 1", container.0);
        let message = format!("Failed to launch container: {cause} ({problem})");
        return report(&events, Input::LaunchFailed { container, message, status: 256 }).await;
    }
    let status = match start(&launch, &agent, &sandbox) {
        Ok(child) => wait(child, &container, &destroy, &events).await,
        Err(problem) => {
            note(&sandbox, &problem.to_string());
            CANNOT_EXECUTE
        }
    };
    if image::is_named(&launch) {
        image::remove(&container).await;
    }
    report(&events, Input::Exited { container, status }).await;
}

/// Watches the container of an earlier run of the agent, which is no child of ours.
pub(crate) async fn adopt(
    container: ContainerId,
    process: Option<Process>,
    destroy: CancellationToken,
    events: mpsc::Sender<Input>,
) {
    let mut status = UNKNOWN;
    if let Some(process) = process.filter(|process| process.is_alive()) {
        tokio::select! {
            () = process.ended() => {}
            () = destroy.cancelled() => {
                let in_image = image::is_run_by(process.pid, &container);
                process.kill_group();
                process.ended().await;
                if in_image {
                    image::remove(&container).await;
                }
                status = KILLED;
            }
        }
    }
    report(&events, Input::Exited { container, status }).await;
}

async fn report(events: &mpsc::Sender<Input>, event: Input) {
    // An agent that has ended meanwhile finds out by itself when it starts again.
    drop(events.send(event).await);
}

/// Makes the sandbox and fetches into it.
async fn prepare(launch: &Launch, sandbox: &Path, faults: &[Fault]) -> Result<(), String> {
    let made = make_sandbox(sandbox);
    made.map_err(|e| format!("make the sandbox '{}': {e}", sandbox.display()))?;
    for fault in faults {
        match fault {
            Fault::SlowFetches(late) => tokio::time::sleep(*late).await,
            Fault::FailedFetches => return Err("nothing can be fetched: this agent was told to fail".into()),
            _ => {}
        }
    }
    let uris = launch.executor.command.as_ref().map(|command| command.uris.as_slice()).unwrap_or_default();
    fetch_all(uris, sandbox).await
}

/// The directory (0750), empty `stdout` and `stderr`, and `latest` beside it.
fn make_sandbox(sandbox: &Path) -> io::Result<()> {
    if let Some(runs) = sandbox.parent() {
        fs::create_dir_all(runs)?;
        DirBuilder::new().mode(0o750).create(sandbox)?;
        let latest = runs.join("latest");
        let beside = runs.join(".latest.new");
        if fs::symlink_metadata(&beside).is_ok() {
            fs::remove_file(&beside)?;
        }
        symlink(sandbox, &beside)?;
        fs::rename(&beside, latest)?;
    }
    for name in ["stdout", "stderr"] {
        open_output(sandbox, name)?;
    }
    Ok(())
}

fn open_output(sandbox: &Path, name: &str) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(sandbox.join(name))
}

/// Writes why something failed where people look: into the sandbox's `stderr`.
fn note(sandbox: &Path, problem: &str) {
    let noted = open_output(sandbox, "stderr").and_then(|mut file| writeln!(file, "{problem}"));
    if let Err(error) = noted {
        tracing::warn!(%error, problem, sandbox = %sandbox.display(), "cannot write into a sandbox");
    }
}

fn start(launch: &Launch, agent: &AgentSide, sandbox: &Path) -> io::Result<Child> {
    let variables = environment(agent, launch, sandbox);
    let mut command = match image::command(launch, variables.clone(), sandbox) {
        Some(command) => command,
        None => {
            let mut command = command(launch.executor.command.as_ref().unwrap_or(&CommandInfo::default()));
            command.env_clear().envs(variables);
            command
        }
    };
    command
        .current_dir(sandbox)
        .stdin(Stdio::null())
        .stdout(open_output(sandbox, "stdout")?)
        .stderr(open_output(sandbox, "stderr")?)
        .process_group(0);
    command.spawn()
}

/// `shell: true` gives the value to `/bin/sh -c`; otherwise the value is the program and the arguments are all of argv.
fn command(info: &CommandInfo) -> Command {
    if info.shell() {
        let mut command = Command::new("/bin/sh");
        command.arg("-c").arg(info.value());
        return command;
    }
    let mut command = Command::new(info.value());
    if let Some((zero, rest)) = info.arguments.split_first() {
        command.arg0(zero).args(rest);
    }
    command
}

async fn wait(
    mut child: Child,
    container: &ContainerId,
    destroy: &CancellationToken,
    events: &mpsc::Sender<Input>,
) -> i32 {
    let Some(pid) = child.id() else { return UNKNOWN };
    let process = Process::with_pid(pid);
    report(events, Input::Started(container.clone(), process)).await;
    let raw = |ended: io::Result<ExitStatus>| ended.map_or(UNKNOWN, |status| status.into_raw());
    let ended = tokio::select! {
        ended = child.wait() => ended,
        () = destroy.cancelled() => {
            process.kill_group();
            child.wait().await
        }
    };
    // What the main process has left behind in its group ends with it.
    process.kill_group();
    raw(ended)
}
