//! Carries lines from an input to the filters: where they come from, and who is to be told that they arrived.
use super::budget::{Budget, Permit};
use super::decorate::Decorate;
use super::lines::{Cut, Line};
use super::tally::{Health, Tally, count};
use crate::batch::Batch;
use crate::codec::{Decode, Maker};
use crate::event::Event;
use crate::field::FieldRef;
use crate::positions::Ledger;
use crate::value::{Map, Name, Timestamp, Value};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Told the position before which every byte was acknowledged.
pub(crate) type Acked = Arc<dyn Fn(u64) + Send + Sync>;

/// Bytes of a source that a pipeline does not read itself.
#[derive(Clone, Debug)]
pub struct Chunk {
    /// The bytes; their borders are arbitrary.
    pub bytes: Bytes,
    /// The position in the source just after these bytes.
    pub end: u64,
}

/// A source that a pipeline does not read itself: a file inside a container.
pub struct Feed {
    /// Which input of the plan it belongs to.
    pub input: usize,
    /// The path of the file, as its events show it.
    pub path: String,
    /// Its bytes in order. Closed: the source has ended, and what is left of a line is a line.
    pub chunks: mpsc::Receiver<Chunk>,
    /// Told `p`: every byte before `p` was acknowledged by every output. `p` is just after the end of a line.
    pub acked: Acked,
}

/// Where lines come from.
pub(crate) struct Source {
    /// Fields of every event of it, as [`Event::shared_fields`] makes them.
    fields: Map,
    decode: Arc<dyn Decode>,
    decorate: Option<Arc<Decorate>>,
    pub(crate) acked: Acked,
}

/// Lines of one source on their way.
pub(crate) struct Frame {
    pub(crate) source: Arc<Source>,
    pub(crate) cut: Cut,
    numbering: Option<Numbering>,
    /// Kept until it is acknowledged.
    pub(crate) permit: Option<Permit>,
}

/// The field `sequence` for lines that are made rather than read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Numbering {
    /// The number of the first line.
    pub(crate) first: u64,
    /// How many lines share one number of `sequence`.
    pub(crate) per: u64,
}

impl Frame {
    /// Lines from nowhere.
    #[cfg(test)]
    pub(crate) fn plain(cut: Cut) -> Self {
        let decode = crate::codec::Codec::lines().decode.unwrap();
        let source = Source { fields: Map::new(), decode, decorate: None, acked: Arc::new(|_| {}) };
        Self { source: Arc::new(source), cut, numbering: None, permit: None }
    }

    /// Makes the events of its lines.
    pub(crate) fn decode(self, now: Timestamp, tally: &Tally) -> Batch {
        let source = &self.source;
        let fields = source.fields.unshared();
        let mut events = Vec::with_capacity(self.cut.len());
        count(&tally.bytes_in, self.cut.size);
        for (line, nth) in self.cut.lines().zip(0_u64..) {
            let before = events.len();
            let mut maker = Maker::new(now, &fields, &mut events);
            match line {
                Line::Text(line) => source.decode.decode_text(line, &mut maker),
                Line::Bytes(line) => source.decode.decode(line, &mut maker),
            }
            if let Some(Numbering { first, per }) = self.numbering {
                let number = i64::try_from((first + nth) / per.max(1)).unwrap_or(i64::MAX);
                for event in events.iter_mut().skip(before) {
                    event.fields_mut().insert(const { Name::const_new("sequence") }, Value::Int(number));
                }
            }
        }
        if let Some(decorate) = &source.decorate {
            events.iter_mut().for_each(|event| decorate.apply(event));
        }
        count(&tally.events_in, events.len());
        Batch::new(events)
    }
}

/// Why an input cannot go on.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct InputError(pub(crate) String);

/// The pipeline takes no more lines: it was stopped, or has failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Closed;

/// Brings lines in.
pub(crate) trait Input: Send {
    /// Reads until the end, or until the intake is to stop. What was not sent as whole lines by then is not read.
    fn run(self: Box<Self>, intake: Intake) -> BoxFuture<'static, Result<(), InputError>>;

    /// What ends a line here, before what the codec says.
    fn delimiter(&self) -> Option<Vec<u8>> {
        None
    }
}

/// What an input is given: where its lines go, and what it needs to know.
pub(crate) struct Intake {
    /// The id of the plugin.
    pub(crate) id: String,
    pub(crate) stop: CancellationToken,
    /// What ends a line.
    pub(crate) delimiter: Vec<u8>,
    /// The feeds of this input.
    pub(crate) feeds: Vec<Feed>,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) health: Arc<Health>,
    pub(crate) frames: mpsc::Sender<Frame>,
    pub(crate) budget: Arc<Budget>,
    pub(crate) fields: Map,
    pub(crate) decode: Arc<dyn Decode>,
    pub(crate) decorate: Option<Arc<Decorate>>,
}

impl Intake {
    /// A source of events with this path, if it has one.
    pub(crate) fn source(&self, path: Option<&str>, acked: Acked) -> Arc<Source> {
        let mut fields = self.fields.clone();
        if let Some(path) = path {
            fields.insert("path", Value::from(path));
        }
        let fields = Event::shared_fields(&fields);
        Arc::new(Source { fields, decode: self.decode.clone(), decorate: self.decorate.clone(), acked })
    }

    /// Sends lines on; waits while the pipeline is full.
    pub(crate) async fn send(&self, source: &Arc<Source>, cuts: Vec<Cut>) -> Result<(), Closed> {
        for cut in cuts {
            self.send_frame(source, cut, None).await?;
        }
        Ok(())
    }

    /// Sends the last lines of a source that cannot be read again, even after the intake was told to stop.
    pub(crate) async fn send_last(&self, source: &Arc<Source>, cuts: Vec<Cut>) {
        for cut in cuts {
            let permit = Some(self.budget.permit(cut.len(), cut.size).await);
            let frame = Frame { source: source.clone(), cut, numbering: None, permit };
            if self.frames.send(frame).await.is_err() {
                return;
            }
        }
    }

    /// Sends lines with a running number on.
    pub(crate) async fn send_numbered(
        &self,
        source: &Arc<Source>,
        cut: Cut,
        numbering: Numbering,
    ) -> Result<(), Closed> {
        self.send_frame(source, cut, Some(numbering)).await
    }

    async fn send_frame(
        &self,
        source: &Arc<Source>,
        cut: Cut,
        numbering: Option<Numbering>,
    ) -> Result<(), Closed> {
        let send = async {
            let permit = Some(self.budget.permit(cut.len(), cut.size).await);
            let frame = Frame { source: source.clone(), cut, numbering, permit };
            self.frames.send(frame).await.map_err(|_| Closed)
        };
        tokio::select! {
            sent = send => sent,
            () = self.stop.cancelled() => Err(Closed),
            // Whoever waits for the budget does not notice otherwise.
            () = self.frames.closed() => Err(Closed),
        }
    }

    /// Waits, or until the intake is to stop.
    pub(crate) async fn pause(&self, time: Duration) -> Result<(), Closed> {
        tokio::select! {
            () = tokio::time::sleep(time) => Ok(()),
            () = self.stop.cancelled() => Err(Closed),
        }
    }
}

/// The fields that `pairs` of references and texts make.
pub(crate) fn fields_of(pairs: &[(String, String)]) -> Result<Map, String> {
    let mut event = Event::new(Timestamp::UNIX_EPOCH);
    event.fields_mut().remove("@version");
    for (name, text) in pairs {
        let field = FieldRef::parse(name).map_err(|e| e.to_string())?;
        event.set(&field, text.as_str()).map_err(|e| format!("`{name}`: {e}"))?;
    }
    Ok(event.fields().clone())
}
