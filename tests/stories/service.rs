//! Runs what stories ship into and receive from: real servers, each a process of its own on loopback, that are killed and
//! started again at will. `tests/run` installs them.

use crate::docker::skip;
use crate::eventually::eventually;
use crate::world::{START, World};
use rustix::process::{Pid, Signal, kill_process};
use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use tokio::net::TcpStream;

/// A server of somebody else.
pub(crate) struct Peer {
    command: Command,
    child: Option<Child>,
}

impl Peer {
    /// Starts it; what it prints is in `NAME.log`.
    pub(crate) fn start(world: &World, name: &str, mut command: Command) -> Self {
        let log = File::options().create(true).append(true).open(world.path(&format!("{name}.log"))).unwrap();
        command.env("LOGHERD_STORY", world.path(name)).current_dir(world.path("."));
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let mut service = Self { command, child: None };
        service.start_again();
        service
    }

    /// Starts it as it was started before.
    pub(crate) fn start_again(&mut self) {
        let program = self.command.get_program().to_owned();
        let child = self.command.spawn();
        self.child = Some(child.unwrap_or_else(|error| panic!("{}: {error}", program.display())));
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Asks it to end, and waits until it has.
    pub(crate) async fn end(&mut self) {
        let mut child = self.child.take().unwrap();
        kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
        let ended = async || child.try_wait().unwrap().ok_or_else(|| "still running".to_owned());
        eventually("the server has ended", START, ended).await;
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            drop(child.kill());
            drop(child.wait());
        }
    }
}

/// Where a program of a Debian package is; `None` after saying loudly that it is not there.
pub(crate) fn program(name: &str, package: &str) -> Option<PathBuf> {
    let path = config::settings::environment("PATH").unwrap_or_default();
    // Where Debian keeps servers, which is not on everybody's path.
    let dirs = path.split(':').chain(["/usr/sbin", "/usr/local/sbin"]);
    let found = dirs.map(|dir| PathBuf::from(dir).join(name)).find(|path| path.is_file());
    if found.is_none() {
        skip(name, &format!("there is no such program: Debian's package {package} has it"));
    }
    found
}

/// A directory of fetched parts that a variable names; `None` after saying loudly that it does not.
pub(crate) fn parts(what: &str, variable: &str) -> Option<PathBuf> {
    let named = config::settings::environment(variable).map(PathBuf::from);
    if named.is_none() {
        skip(what, &format!("{variable} does not name a directory with its parts"));
    }
    named
}

/// Waits until something accepts connections at a port of this machine.
pub(crate) async fn accepts(what: &str, port: u16) {
    let connects = async || match TcpStream::connect(("127.0.0.1", port)).await {
        Ok(_) => Ok(()),
        Err(error) => Err(format!("port {port}: {error}")),
    };
    eventually(what, START, connects).await;
}

/// What a command printed, or why it failed.
pub(crate) async fn answer(command: Command) -> Result<String, String> {
    let shown = format!("{command:?}");
    let output = tokio::process::Command::from(command).stdin(Stdio::null()).output().await;
    let output = output.map_err(|error| format!("{shown}: {error}"))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() {
        return Ok(text(&output.stdout));
    }
    Err(format!("{shown}: {}: {}{}", output.status, text(&output.stderr), text(&output.stdout)))
}
