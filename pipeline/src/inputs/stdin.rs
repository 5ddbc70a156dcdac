//! Reads lines from the standard input.
use crate::ecs::Ecs;
use crate::field::FieldRef;
use crate::plugins::InputOptions;
use crate::runtime::cutter::Cutter;
use crate::runtime::source::{Chunk, Input, InputError, Intake, Source};
use crate::spec::plugin;
use crate::value::Value;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use rustix::event::{PollFd, PollFlags, poll};
use std::io::Read;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
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
            let turn = Arc::new(Turn::default());
            let of_reader = turn.clone();
            // A wait for a terminal cannot be called off: the thread is left to end with the process, which a task of
            // the runtime's own would hold up.
            std::thread::Builder::new()
                .name("stdin".to_owned())
                .spawn(move || read(&mut std::io::stdin(), &chunks_in, &of_reader))
                .map_err(|error| InputError(format!("start the reading thread: {error}")))?;
            let host = self.ecs.choose(FieldRef::top("host"), FieldRef::from_names(&["host", "hostname"]));
            let source = intake.fleeting(vec![(host, Value::Str(intake.host.clone()))]);
            let mut messages = Cutter::new(&intake.framing, 0);
            let mut ended = loop {
                let chunk = tokio::select! {
                    chunk = chunks.recv() => chunk,
                    () = intake.stop.cancelled() => None,
                };
                let Some(chunk) = chunk else { break Ok(()) };
                if let Err(error) = send(chunk, &mut messages, &source, &intake).await {
                    break Err(error);
                }
            };
            // What was read cannot be read again: it goes out even when the pipeline is stopped.
            for chunk in rest(&mut chunks, &turn).await {
                ended = ended.and(send(chunk, &mut messages, &source, &intake).await);
            }
            intake.send_last(&source, messages.finish()).await;
            ended
        })
    }
}

async fn send(
    chunk: std::io::Result<Chunk>,
    messages: &mut Cutter,
    source: &Arc<Source>,
    intake: &Intake,
) -> Result<(), InputError> {
    let chunk = chunk.map_err(|error| InputError(format!("read: {error}")))?;
    let mut cuts = Vec::new();
    let cut = messages.push(&chunk.bytes, chunk.end, &mut cuts);
    intake.send_last(source, cuts).await;
    cut.map_err(|error| InputError(format!("read: {error}")))
}

/// Whose turn it is: after a stop nothing may be read any more, and what was read before must be sent.
#[derive(Debug, Default)]
struct Turn {
    over: AtomicBool,
    /// Whether something is being read, or was read and not sent yet.
    busy: AtomicBool,
}

impl Turn {
    /// Whether something may be read now. Either this sees the stop, or who stops sees that something is being read.
    fn begin(&self) -> bool {
        self.busy.store(true, Ordering::SeqCst);
        let over = self.over.load(Ordering::SeqCst);
        if over {
            self.busy.store(false, Ordering::SeqCst);
        }
        !over
    }

    /// What was read is sent. Returns whether to go on.
    fn end(&self) -> bool {
        self.busy.store(false, Ordering::SeqCst);
        !self.over.load(Ordering::SeqCst)
    }
}

/// What was read and not received, once no more is read.
async fn rest(
    chunks: &mut mpsc::Receiver<std::io::Result<Chunk>>,
    turn: &Turn,
) -> Vec<std::io::Result<Chunk>> {
    let mut rest = Vec::new();
    turn.over.store(true, Ordering::SeqCst);
    while turn.busy.load(Ordering::SeqCst) {
        // It is sent, and then the thread ends.
        let Some(chunk) = chunks.recv().await else { break };
        rest.push(chunk);
    }
    rest.extend(std::iter::from_fn(|| chunks.try_recv().ok()));
    rest
}

fn read(from: &mut (impl Read + AsFd), chunks: &mpsc::Sender<std::io::Result<Chunk>>, turn: &Turn) {
    let mut end = 0;
    let mut buffer = vec![0; READ_BYTES];
    loop {
        // Whatever is wrong with the waiting is told by the reading.
        let _there = poll(&mut [PollFd::new(from, PollFlags::IN)], None);
        if !turn.begin() {
            return;
        }
        let read = match from.read(&mut buffer) {
            Ok(0) => return,
            Ok(n) => n,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => 0,
            Err(error) => {
                // Nobody waits for it when the pipeline has ended.
                let _gone = chunks.blocking_send(Err(error));
                return;
            }
        };
        end += read as u64;
        let bytes = Bytes::copy_from_slice(buffer.get(..read).unwrap_or_default());
        if (!bytes.is_empty() && chunks.blocking_send(Ok(Chunk { bytes, end })).is_err()) || !turn.end() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[tokio::test]
    async fn nothing_that_was_read_is_lost_at_a_stop_and_nothing_is_read_after_it() {
        let (mut reader, mut writer) = std::io::pipe().unwrap();
        let mut beside = reader.try_clone().unwrap();
        let (chunks_in, mut chunks) = mpsc::channel(CHUNKS_MAX);
        let turn = Arc::new(Turn::default());
        let of_reader = turn.clone();
        let reading = std::thread::spawn(move || read(&mut reader, &chunks_in, &of_reader));
        let writing = std::thread::spawn(move || {
            for n in 0..100_000_u32 {
                writer.write_all(&n.to_be_bytes()).unwrap();
            }
        });
        // The reader is ahead of whom nobody receives from.
        let first = chunks.recv().await.unwrap();
        let mut all = vec![first];
        all.extend(rest(&mut chunks, &turn).await);
        reading.join().unwrap();
        let mut bytes: Vec<u8> = all.into_iter().flat_map(|chunk| chunk.unwrap().bytes).collect();
        std::io::copy(&mut beside, &mut bytes).unwrap();
        writing.join().unwrap();
        let expected: Vec<u8> = (0..100_000_u32).flat_map(u32::to_be_bytes).collect();
        assert!(bytes == expected, "{} of {} bytes", bytes.len(), expected.len());
    }
}
