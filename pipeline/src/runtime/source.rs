//! Carries lines from an input to the filters: where they come from, and who is to be told that they arrived.
mod kept;

use super::budget::{Budget, Permit};
use super::decorate::Decorate;
use super::lines::{Cut, LINES_MAX, Line};
use super::meter::Meter;
use super::tally::{Health, Tally, count};
use crate::batch::Batch;
use crate::codec::{Codec, Decode, Framing, Maker, decode_whole};
use crate::event::Event;
use crate::field::FieldRef;
use crate::positions::Ledger;
use crate::value::{Map, Name, Text, Timestamp, Value};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// How many bytes of many sources travel together.
const TOGETHER_BYTES: usize = 256 << 10;

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
    pub(super) fields: Map,
    /// Further ones that do not stand at the top, each set where it is absent.
    inner: Vec<(FieldRef, Value)>,
    /// Whether what was not acknowledged is read again after a restart.
    pub(super) again: bool,
    /// Whether its messages have to be decoded one after the other.
    in_order: bool,
    decode: Arc<dyn Decode>,
    decorate: Option<Arc<Decorate>>,
    /// How many fields of their own its events had last, behind the filters.
    room: AtomicUsize,
    pub(crate) acked: Acked,
    /// Whether its events were counted before.
    counted: bool,
    meter: Option<Arc<Meter>>,
}

/// Lines of one source on their way.
pub(crate) struct Frame {
    pub(crate) source: Arc<Source>,
    pub(crate) cut: Cut,
    /// Events that the input made by itself.
    pub(super) ready: Vec<Event>,
    numbering: Option<Numbering>,
    /// Frames that travel with this one, behind it: a little from each of many sources.
    more: Vec<Frame>,
    /// Kept until it is acknowledged.
    pub(crate) permit: Option<Permit>,
}

/// Everything of a source before this position is in a frame, or was in an earlier one.
pub(crate) struct Arrival {
    pub(crate) source: Arc<Source>,
    pub(crate) end: u64,
}

impl Arrival {
    /// Tells the source that it has arrived.
    pub(crate) fn tell(&self) {
        (self.source.acked)(self.end);
    }
}

/// The field `sequence` for lines that are made rather than read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Numbering {
    /// The number of the first line.
    pub(crate) first: u64,
    /// How many lines share one number of `sequence`.
    pub(crate) per: u64,
    /// Whether the field is `[event][sequence]`.
    pub(crate) ecs: bool,
}

impl Frame {
    /// Lines from nowhere.
    #[cfg(test)]
    pub(crate) fn plain(cut: Cut) -> Self {
        Self::of(&Source::lines(Arc::new(|_| {})), cut, Vec::new(), None)
    }

    /// Lines and events of a source.
    pub(super) fn of(source: &Arc<Source>, cut: Cut, ready: Vec<Event>, permit: Option<Permit>) -> Self {
        Self { source: source.clone(), cut, ready, numbering: None, more: Vec::new(), permit }
    }

    /// Each frame of those that travel together.
    pub(super) fn each(mut self) -> impl Iterator<Item = Frame> {
        let more = std::mem::take(&mut self.more);
        std::iter::once(self).chain(more)
    }

    /// What has arrived when its events have.
    pub(super) fn arrivals(&self) -> Vec<Arrival> {
        let all = std::iter::once(self).chain(&self.more);
        all.map(|frame| Arrival { source: frame.source.clone(), end: frame.cut.end }).collect()
    }

    /// How many events and bytes it has, at least.
    fn size(&self) -> (usize, usize) {
        let own = (self.cut.len() + self.ready.len(), self.cut.size);
        let and = |(events, bytes), more: (usize, usize)| (events + more.0, bytes + more.1);
        self.more.iter().map(Self::size).fold(own, and)
    }

    /// Makes the events of its lines, and of those that travel with it; in the memory of `old` ones, as long as there are any.
    pub(crate) fn decode(mut self, now: Timestamp, tally: &Tally, old: &mut Vec<Event>) -> Batch {
        let more = std::mem::take(&mut self.more);
        let mut events = self.decode_own(now, tally, old);
        for frame in more {
            events.append(&mut frame.decode_own(now, tally, old));
        }
        Batch::new(events)
    }

    fn decode_own(self, now: Timestamp, tally: &Tally, old: &mut Vec<Event>) -> Vec<Event> {
        let source = &self.source;
        let fields = source.fields_for_frame();
        let mut events = self.ready;
        events.iter_mut().for_each(|event| event.add_absent(&fields));
        events.reserve(self.cut.len());
        if !source.counted {
            count(&tally.bytes_in, self.cut.size);
        }
        for (line, nth) in self.cut.lines().zip(0_u64..) {
            let before = events.len();
            let mut maker = Maker::new(now, &fields, &mut events).of_old(std::mem::take(old));
            source.decode_line(line, &mut maker);
            *old = maker.into_old();
            if let Some(numbering) = self.numbering {
                events.iter_mut().skip(before).for_each(|event| numbering.set(nth, event));
            }
        }
        for (field, value) in &source.inner {
            for event in events.iter_mut().filter(|event| !event.has(field)) {
                // Where something else stands in its way the event goes without.
                let _set = event.set(field, value.clone());
            }
        }
        if let Some(decorate) = &source.decorate {
            events.iter_mut().for_each(|event| decorate.apply(event));
        }
        if !source.counted {
            count(&tally.events_in, events.len());
        }
        if let Some(meter) = &source.meter {
            meter.made(events.len());
        }
        events
    }
}

impl Source {
    /// A source of lines, without fields of its own.
    #[cfg(test)]
    pub(crate) fn lines(acked: Acked) -> Arc<Self> {
        Arc::new(Self {
            fields: Map::new(),
            inner: Vec::new(),
            again: false,
            in_order: false,
            decode: Codec::lines().decode.unwrap(),
            decorate: None,
            room: AtomicUsize::default(),
            acked,
            counted: false,
            meter: None,
        })
    }

    /// The fields that the events of a frame share.
    pub(super) fn fields_for_frame(&self) -> Map {
        self.fields.unshared(self.room.load(Ordering::Relaxed))
    }

    /// Looks what its events have become, so that the next ones have room for as much.
    pub(super) fn learn(&self, became: &Batch) {
        if let Some(event) = became.events().first() {
            self.room.store(event.fields().own_len(), Ordering::Relaxed);
        }
    }

    fn decode_line(&self, line: Line, maker: &mut Maker<'_>) {
        match line {
            Line::Text(line) => self.decode.decode_text(line, maker),
            Line::Bytes(line) => self.decode.decode(line, maker),
        }
    }
}

impl Numbering {
    fn set(self, nth: u64, event: &mut Event) {
        let number = Value::Int(i64::try_from((self.first + nth) / self.per.max(1)).unwrap_or(i64::MAX));
        if self.ecs {
            // Where something else stands in its way the event goes without.
            let _set = event.set(&FieldRef::from_names(&["event", "sequence"]), number);
        } else {
            event.fields_mut().insert(const { Name::const_new("sequence") }, number);
        }
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

    /// The codec, if none is given.
    fn codec(&self) -> Codec {
        Codec::lines()
    }

    /// How its bytes are cut into messages, before what the codec says.
    fn framing(&self) -> Option<Framing> {
        None
    }
}

/// What an input is given: where its lines go, and what it needs to know.
pub(crate) struct Intake {
    /// The id of the plugin.
    pub(crate) id: String,
    pub(crate) stop: CancellationToken,
    /// How a stream of bytes is cut into messages.
    pub(crate) framing: Framing,
    /// The name of this machine.
    pub(crate) host: Text,
    /// Whether anything may look at metadata.
    pub(crate) tells_metadata: bool,
    /// The feeds of this input.
    pub(crate) feeds: Vec<Feed>,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) health: Arc<Health>,
    pub(crate) frames: mpsc::Sender<Frame>,
    pub(crate) budget: Arc<Budget>,
    pub(crate) fields: Map,
    pub(crate) decode: Arc<dyn Decode>,
    /// The name of the codec.
    pub(crate) codec_name: &'static str,
    pub(crate) decorate: Option<Arc<Decorate>>,
    /// What counts the events of this input.
    pub(crate) meter: Option<Arc<Meter>>,
}

impl Intake {
    /// A source whose events get these fields where they are absent. What cannot be read again is lost when this
    /// process dies; `acked` is told how far everything has arrived.
    pub(crate) fn source(&self, of: Vec<(FieldRef, Value)>, again: bool, acked: Acked) -> Arc<Source> {
        let mut fields = Map::new();
        let mut inner = Vec::new();
        for (field, value) in of {
            match field.as_top() {
                Some(name) => drop(fields.insert(name.clone(), value)),
                // Nobody would see it, and each event would be slower.
                None if field.is_metadata() && !self.tells_metadata => {}
                None => inner.push((field, value)),
            }
        }
        for (name, value) in self.fields.iter() {
            fields.insert(name.clone(), value.clone());
        }
        let fields = Event::shared_fields(&fields);
        let own = self.decode.for_source();
        let in_order = own.is_some();
        let decode = own.unwrap_or_else(|| self.decode.clone());
        let decorate = self.decorate.clone();
        let room = AtomicUsize::default();
        Arc::new(Source {
            fields,
            inner,
            again,
            in_order,
            decode,
            decorate,
            room,
            acked,
            counted: false,
            meter: self.meter.clone(),
        })
    }

    /// A source that cannot be read again and acknowledges nothing.
    pub(crate) fn fleeting(&self, of: Vec<(FieldRef, Value)>) -> Arc<Source> {
        self.source(of, false, Arc::new(|_| {}))
    }

    /// A source of events that have everything already that every input adds.
    pub(crate) fn undecorated(&self, of: Vec<(FieldRef, Value)>, acked: Acked) -> Arc<Source> {
        let source = self.source(of, false, acked);
        Arc::new(match Arc::try_unwrap(source) {
            Ok(source) => Source { decorate: None, ..source },
            Err(shared) => return shared,
        })
    }

    /// What ends a line; of a codec that knows no lines, the end of a line as everywhere.
    pub(crate) fn delimiter(&self) -> &[u8] {
        match &self.framing {
            Framing::Delimited(delimiter) => delimiter,
            Framing::Msgpack => b"\n",
        }
    }

    /// The events of a message that came whole: a datagram, the body of a request. A codec for streams finds several
    /// messages in it; what follows the last one is one, too.
    pub(crate) fn decoded(&self, source: &Source, message: Bytes) -> Vec<Event> {
        decode_whole(source.decode.as_ref(), &source.fields_for_frame(), message)
    }

    /// Sends events on that the input made; waits while the pipeline is full. `end` is told to the source when all of
    /// them have arrived.
    pub(crate) async fn send_events(
        &self,
        source: &Arc<Source>,
        events: Vec<Event>,
        size: usize,
        end: u64,
    ) -> Result<(), Closed> {
        let cut = Cut::without_lines(size, end);
        self.send_frame(Frame::of(source, cut, events, None)).await
    }

    /// Sends events on that cannot be received again, even after the intake was told to stop.
    pub(crate) async fn send_events_last(
        &self,
        source: &Arc<Source>,
        events: Vec<Event>,
        size: usize,
        end: u64,
    ) -> Result<(), Closed> {
        let permit = Some(self.budget.permit(events.len(), size).await);
        let frame = Frame::of(source, Cut::without_lines(size, end), events, permit);
        self.frames.send(frame).await.map_err(|_| Closed)
    }

    /// Sends lines on; waits while the pipeline is full.
    pub(crate) async fn send(&self, source: &Arc<Source>, cuts: Vec<Cut>) -> Result<(), Closed> {
        for cut in cuts {
            self.send_frame(Frame::of(source, cut, Vec::new(), None)).await?;
        }
        Ok(())
    }

    /// Sends lines of many sources on, in this order; little ones travel together.
    pub(crate) async fn send_all(&self, cuts: Vec<(Arc<Source>, Cut)>) -> Result<(), Closed> {
        let mut together: Option<Frame> = None;
        for (source, cut) in cuts {
            let next = Frame::of(&source, cut, Vec::new(), None);
            let (lines, bytes) = together.as_ref().map_or((0, 0), Frame::size);
            let fits = lines + next.size().0 <= LINES_MAX && bytes + next.size().1 <= TOGETHER_BYTES;
            match &mut together {
                Some(first) if fits => first.more.push(next),
                _ => {
                    if let Some(full) = together.replace(next) {
                        self.send_frame(full).await?;
                    }
                }
            }
        }
        match together {
            Some(rest) => self.send_frame(rest).await,
            None => Ok(()),
        }
    }

    /// Sends the last lines of a source that cannot be read again, even after the intake was told to stop.
    pub(crate) async fn send_last(&self, source: &Arc<Source>, cuts: Vec<Cut>) {
        for cut in cuts {
            let permit = Some(self.budget.permit(cut.len(), cut.size).await);
            let frame = ordered(Frame::of(source, cut, Vec::new(), permit));
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
        let frame = Frame::of(source, cut, Vec::new(), None);
        self.send_frame(Frame { numbering: Some(numbering), ..frame }).await
    }

    async fn send_frame(&self, frame: Frame) -> Result<(), Closed> {
        let mut frame = ordered(frame);
        let send = async {
            let (count, size) = frame.size();
            frame.permit = Some(self.budget.permit(count, size).await);
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

/// Decodes the lines of a frame at once if that must happen one after the other.
fn ordered(mut frame: Frame) -> Frame {
    frame.more = frame.more.into_iter().map(ordered).collect();
    if frame.source.in_order {
        let fields = frame.source.fields_for_frame();
        let mut maker = Maker::new(Timestamp::now(), &fields, &mut frame.ready);
        frame.cut.lines().for_each(|line| frame.source.decode_line(line, &mut maker));
        frame.cut = Cut::without_lines(frame.cut.size, frame.cut.end);
    }
    frame
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
