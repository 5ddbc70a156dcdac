//! Reads lines from the standard input.
use crate::ecs::Ecs;
use crate::field::FieldRef;
use crate::plugins::InputOptions;
use crate::runtime::cutter::Cutter;
use crate::runtime::source::{Chunk, Input, InputError, Intake};
use crate::spec::plugin;
use crate::value::Value;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use std::io::Read;
use tokio::sync::mpsc;

plugin! {
    /// Reads lines from the standard input, until it ends.
    ///
    /// ```
    /// input { stdin { codec => json } }
    /// ```
    ///
    /// Each event has the field `host`: the name of this machine.
    input "stdin" => pub(crate) struct StdinOptions {
        /// With `v1` or `v8` the name of the machine stands in `[host][hostname]`, in place of `host`.
        ecs_compatibility: Ecs = "disabled",
    }
}

impl InputOptions for StdinOptions {
    fn build(&self) -> Result<Box<dyn Input>, String> {
        Ok(Box::new(Stdin { ecs: self.ecs_compatibility }))
    }
}

struct Stdin {
    ecs: Ecs,
}

/// How much is read at once, and how many of these wait. Full: the reading waits, and so does who writes.
const READ_BYTES: usize = 128 << 10;
const CHUNKS_MAX: usize = 2;

impl Input for Stdin {
    fn run(self: Box<Self>, intake: Intake) -> BoxFuture<'static, Result<(), InputError>> {
        Box::pin(async move {
            let (chunks_in, mut chunks) = mpsc::channel(CHUNKS_MAX);
            // A read of a terminal cannot be called off: the thread is left to end with the process, which a task of
            // the runtime's own would hold up.
            std::thread::Builder::new()
                .name("stdin".to_owned())
                .spawn(move || read(&mut std::io::stdin(), &chunks_in))
                .map_err(|error| InputError(format!("start the reading thread: {error}")))?;
            let host = self.ecs.choose(FieldRef::top("host"), FieldRef::from_names(&["host", "hostname"]));
            let source = intake.fleeting(vec![(host, Value::Str(intake.host.clone()))]);
            let mut messages = Cutter::new(&intake.framing, 0);
            loop {
                let chunk = tokio::select! {
                    chunk = chunks.recv() => chunk,
                    () = intake.stop.cancelled() => None,
                };
                let Some(chunk) = chunk else { break };
                let chunk = chunk.map_err(|error| InputError(format!("read: {error}")))?;
                let mut cuts = Vec::new();
                let cut = messages.push(&chunk.bytes, chunk.end, &mut cuts);
                if intake.send(&source, cuts).await.is_err() {
                    break;
                }
                cut.map_err(|error| InputError(format!("read: {error}")))?;
            }
            // What was read cannot be read again: it goes out even when the pipeline is stopped.
            intake.send_last(&source, messages.finish()).await;
            Ok(())
        })
    }
}

fn read(from: &mut impl Read, chunks: &mpsc::Sender<std::io::Result<Chunk>>) {
    let mut end = 0;
    let mut buffer = vec![0; READ_BYTES];
    loop {
        let read = match from.read(&mut buffer) {
            Ok(0) => return,
            Ok(n) => n,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => {
                // Nobody waits for it when the pipeline has ended.
                let _gone = chunks.blocking_send(Err(error));
                return;
            }
        };
        end += read as u64;
        let bytes = Bytes::copy_from_slice(buffer.get(..read).unwrap_or_default());
        if chunks.blocking_send(Ok(Chunk { bytes, end })).is_err() {
            return;
        }
    }
}
