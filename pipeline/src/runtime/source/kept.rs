//! Reads events that this program has written to disk: dead letters, and what waits in a disk queue.
use super::{Acked, Cut, Decorate, Frame, Intake, Meter, Permit, Source};
use crate::codec::{Decode, Maker};
use crate::event::{Event, stored};
use crate::value::{Map, Text};
use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

/// Reads events that this program has written.
struct Stored;

/// The tag of an event that was stored and cannot be read.
const STORED_FAILURE: &str = "_storedeventfailure";

impl Decode for Stored {
    fn decode(&self, line: Bytes, events: &mut Maker<'_>) {
        match stored::read(&line) {
            Ok(event) => events.event(event),
            Err(_) => events.failed(Text::lossy(line), STORED_FAILURE),
        }
    }
}

impl Source {
    /// A source of events that were written by ourselves and counted then: they have all their fields.
    pub(crate) fn stored(acked: Acked) -> Arc<Self> {
        Self::of_stored(None, acked, None)
    }

    fn of_stored(decorate: Option<Arc<Decorate>>, acked: Acked, meter: Option<Arc<Meter>>) -> Arc<Self> {
        let counted = meter.is_none();
        let (fields, inner, decode) = (Event::shared_fields(&Map::new()), Vec::new(), Arc::new(Stored));
        let room = AtomicUsize::default();
        Arc::new(Self {
            fields,
            inner,
            again: true,
            in_order: false,
            decode,
            decorate,
            room,
            acked,
            counted,
            meter,
        })
    }
}

impl Frame {
    /// Events that were written by ourselves.
    pub(crate) fn stored(source: &Arc<Source>, cut: Cut, permit: Permit) -> Self {
        Self::of(source, cut, Vec::new(), Some(permit))
    }
}

impl Intake {
    /// A source of events that were written by ourselves: they have all their fields.
    pub(crate) fn stored_source(&self, acked: Acked) -> Arc<Source> {
        Source::of_stored(self.decorate.clone(), acked, self.meter.clone())
    }
}
