//! Runs the container's own `tail` by `docker exec`, and sees to it that it ends.
//!
//! Dropping the connection of an exec does not end its process. So a constant script guards it: it runs `tail` in the
//! background and reads its standard input, which closes when we go away, however we go; then it kills `tail` and waits
//! for it. The script is the same for everybody; path and position are positional parameters, so nothing that a person
//! wrote is parsed by a shell.
//!
//! `tail -F` follows a name: busybox' looks once a second whether the name is another file's, and then reads nothing more of
//! the one before. So the script follows the file itself (`-f`), looks each second whether it has lost its name to another
//! file, and says so; what is left in it, and what is still written to it, is read before the other file. A shell that cannot
//! compare files (`-ef`), and a container without `sleep` or `/proc`, are left with `tail -F`.
//!
//! A container without `sh` gets `tail` directly, as an argv; then we kill it by its host pid.
use super::opening::one_line;
use bollard::Docker;
use bollard::container::LogOutput;
use bollard::errors::Error as DockerError;
use bollard::exec::{CreateExecOptions, StartExecResults};
use futures_util::{Stream, StreamExt};
use std::pin::Pin;
use std::time::Duration;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, timeout_at};

/// `$1`: the first byte to send, from 1; `$2`: the file; `$3`: how many bytes of it are known to exist.
const GUARD: &str = r#"
if [ "$3" -gt 0 ]; then
  if [ ! -e "$2" ] || [ "$(tail -c "+$3" -- "$2" 2>/dev/null | head -c 1 | wc -c)" -eq 0 ]; then
    echo logherd:shorter
    exit 0
  fi
fi
exec 3<&0
how=-F look=
if [ -r "$2" ] && [ ! -d "$2" ]; then
  echo logherd:ready
  if [ -f "$2" ] && command -v sleep >/dev/null 2>&1; then
    exec 4<"$2"
    if [ "$2" -ef /proc/self/fd/4 ] 2>/dev/null; then how=-f look=renamed; fi
  fi
else
  echo logherd:absent
  if command -v sleep >/dev/null 2>&1; then look=absent; fi
fi
tail -c "+$1" "$how" -- "$2" 3<&- 4<&- &
t=$!
pause() { sleep 1 >/dev/null 2>&1 & s=$!; wait "$s"; }
case $look in
  renamed) {
    trap 'kill "$s" 2>/dev/null; exit' TERM
    gone=
    until [ -e "$2" ] && [ ! "$2" -ef /proc/self/fd/4 ]; do
      if [ -e "$2" ]; then now=; else now=1; fi
      case $gone$now,$now in 1,1) echo logherd:nameless >&2 ;; 1,) echo logherd:named >&2 ;; esac
      gone=$now
      pause
    done
    echo logherd:renamed >&2
  } 3<&- & ;;
  absent) {
    trap 'kill "$s" 2>/dev/null; exit' TERM
    until [ -f "$2" ] && [ -r "$2" ]; do pause; done
    kill "$t"
  } 3<&- 2>/dev/null & ;;
  *) : & ;;
esac
l=$!
{ read -r _ <&3; kill "$t"; } 2>/dev/null &
g=$!
exec 3<&- 4<&-
wait "$t" 2>/dev/null
c=$?
kill "$g" "$l" 2>/dev/null
wait "$g" "$l" 2>/dev/null
if [ "$look" = absent ] && [ -f "$2" ] && [ -r "$2" ]; then c=75; fi
exit "$c"
"#;

/// The exit code of the script when the file is there now that was not: whoever runs it again follows the file itself.
pub(super) const THERE_NOW: i64 = 75;

/// `$1`: the file. Prints its size; 0 when it is not there.
const SIZE: &str = r#"if [ -e "$1" ]; then wc -c < "$1"; else echo 0; fi"#;

/// How long a process gets to end after it was told to.
const END_WITHIN: Duration = Duration::from_secs(3);

/// How a file in a container is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reader {
    /// `tail`, guarded by a constant `sh` script: ends by itself when we go away.
    Guarded,
    /// `tail` alone, for containers without `sh`: must be killed by its host pid.
    Direct,
}

/// What to read: from which byte of which file of which container.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub(super) container: String,
    pub(super) path: String,
    /// Offset in the file of the first byte to send.
    pub(super) from: u64,
    /// How many bytes of the file are known to exist: those already read.
    pub(super) known: u64,
}

impl Reader {
    fn argv(self, wanted: &Wanted) -> Vec<String> {
        let first = wanted.from.saturating_add(1).to_string();
        match self {
            Reader::Guarded => {
                ["sh", "-c", GUARD, "logherd", &first, &wanted.path, &wanted.known.to_string()]
                    .map(str::to_owned)
                    .to_vec()
            }
            Reader::Direct => {
                ["tail", "-c", &format!("+{first}"), "-F", "--", &wanted.path].map(str::to_owned).to_vec()
            }
        }
    }
}

/// One running exec.
pub(super) struct Exec {
    docker: Docker,
    pub(super) id: String,
    pub(super) output: Pin<Box<dyn Stream<Item = Result<LogOutput, DockerError>> + Send>>,
    input: Pin<Box<dyn AsyncWrite + Send>>,
}

impl Exec {
    /// Starts reading.
    pub(super) async fn start(docker: &Docker, reader: Reader, wanted: &Wanted) -> Result<Self, DockerError> {
        Self::run(docker, &wanted.container, reader.argv(wanted)).await
    }

    async fn run(docker: &Docker, container: &str, argv: Vec<String>) -> Result<Self, DockerError> {
        let options = CreateExecOptions {
            attach_stdin: Some(true),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            env: Some(vec!["LC_ALL=C".to_owned()]),
            cmd: Some(argv),
            ..CreateExecOptions::default()
        };
        let id = docker.create_exec(container, options).await?.id;
        match docker.start_exec(&id, None).await? {
            StartExecResults::Attached { output, input } => {
                Ok(Self { docker: docker.clone(), id, output, input })
            }
            StartExecResults::Detached => Err(DockerError::DockerStreamError {
                error: "the daemon detached from an exec that asked to be attached".to_owned(),
            }),
        }
    }

    /// Waits until the process is over, for a moment, and answers its exit code.
    pub(super) async fn exit_code(&mut self) -> Option<i64> {
        let deadline = Instant::now() + END_WITHIN;
        let mut pause = Duration::from_millis(2);
        while Instant::now() < deadline {
            let state = self.docker.inspect_exec(&self.id).await.ok()?;
            if state.running == Some(false) {
                return state.exit_code;
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
        None
    }

    /// Whether the process is running now; `None` when the daemon cannot tell.
    pub(super) async fn is_running(&mut self) -> Option<bool> {
        self.docker.inspect_exec(&self.id).await.ok()?.running
    }

    /// Ends the process in the container: closes its input, waits, and kills it by its host pid if that was not enough.
    /// What it still says is thrown away.
    pub(super) async fn stop(mut self) {
        if let Err(error) = self.input.shutdown().await {
            tracing::debug!(%error, "the input of an exec was closed already");
        }
        let patience = Instant::now() + END_WITHIN;
        let guarded =
            timeout_at(patience, async { while let Some(Ok(_)) = self.output.next().await {} }).await;
        if guarded.is_err() || self.is_running().await == Some(true) {
            kill_by_host_pid(&self.docker, &self.id).await;
        }
    }

    /// Ends a process that has no guard.
    pub(super) async fn kill(self) {
        kill_by_host_pid(&self.docker, &self.id).await;
    }
}

/// Kills the process of an exec by its pid on this host, if it runs, is a `tail` (or the guard of one), and is visible and
/// killable from here: that needs root and the host's pid namespace.
pub(super) async fn kill_by_host_pid(docker: &Docker, exec: &str) {
    let Ok(state) = docker.inspect_exec(exec).await else { return };
    let (Some(true), Some(pid)) = (state.running, state.pid) else { return };
    let Some(pid) = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw) else { return };
    let command = std::fs::read(format!("/proc/{}/cmdline", pid.as_raw_nonzero())).unwrap_or_default();
    let program = command.split(|b| *b == 0).next().unwrap_or_default();
    let program = program.rsplit(|b| *b == b'/').next().unwrap_or_default();
    if !matches!(program, b"tail" | b"busybox" | b"sh") {
        tracing::warn!(
            exec,
            "a tail in a container could not be ended: its process is not visible from here"
        );
        return;
    }
    match rustix::process::kill_process(pid, rustix::process::Signal::TERM) {
        Ok(()) => tracing::debug!(exec, "killed a tail in a container by its host pid"),
        Err(error) => tracing::warn!(exec, %error, "a tail in a container could not be killed"),
    }
}

/// Asks for the size of a file in a container; 0 when it is not there.
pub(super) async fn file_size(docker: &Docker, container: &str, path: &str) -> Result<u64, String> {
    let argv = ["sh", "-c", SIZE, "logherd", path].map(str::to_owned).to_vec();
    let mut exec = Exec::run(docker, container, argv).await.map_err(|e| e.to_string())?;
    let mut said = Vec::new();
    while let Some(Ok(item)) = exec.output.next().await {
        said.extend_from_slice(item.as_ref());
    }
    let text = one_line(&said);
    text.parse().map_err(|_| text)
}
