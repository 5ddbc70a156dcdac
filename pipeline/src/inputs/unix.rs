//! Receives streams over sockets of this machine.
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tracing::warn;

use super::tcp::{Idle, Mode, stream_to};
use crate::ecs::Ecs;
use crate::field::FieldRef;
use crate::listening::ACCEPT_PAUSE;
use crate::plugins::InputOptions;
use crate::runtime::source::{Input, InputError, Intake, Source};
use crate::runtime::supervise::panic_reason;
use crate::spec::plugin;
use crate::value::Value;

plugin! {
    /// Receives lines, or what the codec makes of a stream, over a socket of this machine.
    ///
    /// ```
    /// input { unix { path => "/run/app.sock" force_unlink => true codec => json_lines } }
    /// ```
    ///
    /// Each event has the fields `host`, the name of this machine, and `path`, that of the socket. While the pipeline is full
    /// nothing is read, so that the other side waits. A line may have up to 1 MiB; a longer one becomes several events.
    input "unix" => pub(crate) struct UnixOptions {
        /// The socket.
        path: String,
        /// Remove what is there at `path` before listening. Otherwise that is an error.
        force_unlink: bool = false,
        /// After how many seconds of silence a connection is closed; -1 is never.
        data_timeout: f64 = -1,
        /// Whether to listen or to connect. A client connects again when the connection ends.
        mode: Mode = "server",
        /// How many seconds a client waits for the socket before it tries again.
        socket_not_present_retry_interval_seconds: f64 = 5,
        /// How many may be connected; further ones wait.
        max_connections: usize = 1024,
        /// With `v1` or `v8` the fields are `[host][name]` and `[file][path]` in place of `host` and `path`.
        ecs_compatibility: Ecs = "disabled",
    }
}

impl InputOptions for UnixOptions {
    fn build(&self) -> Result<Box<dyn Input>, String> {
        Ok(Box::new(Unix { options: self.clone() }))
    }
}

struct Unix {
    options: UnixOptions,
}

impl Input for Unix {
    fn run(self: Box<Self>, intake: Intake) -> BoxFuture<'static, Result<(), InputError>> {
        Box::pin(async move {
            match self.options.mode {
                Mode::Server => self.listen(Arc::new(intake)).await,
                Mode::Client => {
                    self.connect(&intake).await;
                    Ok(())
                }
            }
        })
    }
}

/// Removes the socket when nobody listens on it any more.
struct Place(PathBuf);

impl Drop for Place {
    fn drop(&mut self) {
        // Somebody else may have removed it.
        let _gone = std::fs::remove_file(&self.0);
    }
}

fn bind(path: &Path, force: bool) -> std::io::Result<(UnixListener, Place)> {
    if force
        && let Err(error) = std::fs::remove_file(path)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        return Err(error);
    }
    Ok((UnixListener::bind(path)?, Place(path.to_owned())))
}

impl Unix {
    fn source(&self, intake: &Intake) -> Arc<Source> {
        let ecs = self.options.ecs_compatibility;
        let host = ecs.choose(FieldRef::top("host"), FieldRef::from_names(&["host", "name"]));
        let path = ecs.choose(FieldRef::top("path"), FieldRef::from_names(&["file", "path"]));
        let (name, socket) = (Value::Str(intake.host.clone()), Value::from(self.options.path.as_str()));
        intake.fleeting(vec![(host, name), (path, socket)])
    }

    fn idle(&self) -> Idle {
        Duration::try_from_secs_f64(self.options.data_timeout).ok()
    }

    async fn listen(&self, intake: Arc<Intake>) -> Result<(), InputError> {
        let path = &self.options.path;
        let (listener, place) = bind(Path::new(path), self.options.force_unlink).map_err(|error| {
            InputError(format!("listen on `{path}`: {error}; `force_unlink => true` removes what is there"))
        })?;
        let room = Arc::new(Semaphore::new(self.options.max_connections));
        let mut connections = JoinSet::new();
        loop {
            let accept = async {
                let place = room.clone().acquire_owned().await.ok()?;
                match listener.accept().await {
                    Ok((stream, _)) => Some((stream, place)),
                    Err(error) => {
                        warn!(%error, "accept a connection");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                        None
                    }
                }
            };
            tokio::select! {
                accepted = accept => {
                    let Some((stream, place)) = accepted else { continue };
                    let (source, intake, idle) = (self.source(&intake), intake.clone(), self.idle());
                    connections.spawn(async move {
                        let _place = place;
                        tell(stream_to(Box::new(stream), &source, idle, &intake).await);
                    });
                }
                Some(ended) = connections.join_next() => told(ended),
                () = intake.stop.cancelled() => break,
            }
        }
        // Somebody else may take its place while the last connections end.
        drop((listener, place));
        while let Some(ended) = connections.join_next().await {
            told(ended);
        }
        Ok(())
    }

    async fn connect(&self, intake: &Intake) {
        let pause = Duration::try_from_secs_f64(self.options.socket_not_present_retry_interval_seconds);
        let pause = pause.unwrap_or(Duration::from_secs(5));
        let path = &self.options.path;
        while !intake.stop.is_cancelled() {
            match UnixStream::connect(path).await {
                Ok(stream) => {
                    intake.health.works(&intake.id);
                    tell(stream_to(Box::new(stream), &self.source(intake), self.idle(), intake).await);
                }
                Err(error) => {
                    warn!(path, %error, "the socket cannot be reached; it is tried again");
                    intake.health.trouble(&intake.id, format!("connect to `{path}`: {error}"));
                }
            }
            if intake.pause(pause).await.is_err() {
                return;
            }
        }
    }
}

fn tell(received: Result<(), String>) {
    if let Err(reason) = received {
        warn!(reason, "a connection was closed");
    }
}

fn told(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        warn!(reason = panic_reason(error), "a connection ended by itself");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trial::inputs::Trial;
    use tokio::io::AsyncWriteExt;

    #[tokio::test]
    async fn lines_of_those_who_connect_are_events() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s.sock");
        let mut trial = Trial::start(&format!("unix {{ path => '{}' }}", path.display()));
        trial.until("somebody listens", async || UnixStream::connect(&path).await.is_ok()).await;
        let mut stream = UnixStream::connect(&path).await.unwrap();
        stream.write_all(b"one\ntwo").await.unwrap();
        trial.events(1).await;
        drop(stream);
        let events = trial.events(2).await;
        assert_eq!((&events[0]["message"], &events[1]["message"]), (&"one".into(), &"two".into()));
        assert_eq!(events[0]["path"], path.to_str().unwrap());
        assert_eq!(events[0]["host"], "host-1");
        trial.stop().await;
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_client_reads_from_the_socket_of_another() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let input = format!(
            "unix {{ path => '{}' mode => client ecs_compatibility => v1 socket_not_present_retry_interval_seconds => 0.01 }}",
            path.display()
        );
        let mut trial = Trial::start(&input);
        for nth in 1..3 {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(b"line\n").await.unwrap();
            drop(stream);
            let events = trial.events(nth).await;
            assert_eq!(
                (&events[0]["file"]["path"], &events[0]["host"]["name"]),
                (&path.to_str().unwrap().into(), &"host-1".into())
            );
        }
        trial.stop().await;
    }

    #[tokio::test]
    async fn what_is_there_is_removed_only_when_that_is_asked_for() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s.sock");
        std::fs::write(&path, "").unwrap();
        assert!(bind(&path, false).is_err());
        assert!(bind(&path, true).is_ok());
    }

    #[tokio::test]
    async fn a_silent_connection_is_closed() {
        use tokio::io::AsyncReadExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s.sock");
        let mut trial =
            Trial::start(&format!("unix {{ path => '{}' data_timeout => 0.05 }}", path.display()));
        trial.until("somebody listens", async || UnixStream::connect(&path).await.is_ok()).await;
        let mut stream = UnixStream::connect(&path).await.unwrap();
        assert_eq!(stream.read(&mut [0; 1]).await.unwrap(), 0);
    }
}
