//! Writes what bulk requests say of events before it is known which request they go with, and puts requests together of that.
use super::{Body, Documents, Limits, Shape};
use crate::event::Event;
use crate::runtime::chain::Chosen;
use crate::runtime::rendered::{Render, Rendered, SpareTexts};
use std::sync::Arc;

/// Writes documents on the threads that filter.
#[derive(Debug)]
pub(crate) struct Renderer {
    shape: Arc<Shape>,
    spare: Arc<SpareTexts>,
}

impl Renderer {
    /// Writes documents of this shape.
    pub(crate) fn new(shape: Arc<Shape>) -> Self {
        Self { shape, spare: Arc::default() }
    }

    /// Lets memory go that is kept only for speed.
    pub(crate) fn rest(&self) {
        self.spare.clear();
    }
}

impl Render for Renderer {
    fn render(&self, events: &[Event], chosen: &Chosen) -> Rendered {
        let (mut text, mut unfit) = (self.spare.take(), Vec::new());
        let mut ends = Vec::with_capacity(chosen.len_of(events));
        let mut documents = Documents::new(&self.shape);
        for (nth, event) in chosen.of(events).enumerate() {
            if let Err(why) = documents.write(event, &mut text) {
                unfit.push((nth, why));
            }
            ends.push(text.len());
        }
        Rendered { text, ends, unfit, spare: self.spare.clone() }
    }
}

/// Adds to an empty body what was written of the events from the `from`th on, as many as the limits allow.
pub(super) fn gather(parts: &[Arc<Rendered>], from: usize, limits: Limits, mut body: Body) -> Body {
    let mut skip = from;
    for part in parts {
        let first = skip.min(part.ends.len());
        skip -= first;
        let start = first.checked_sub(1).and_then(|last| part.ends.get(last)).copied().unwrap_or(0);
        let (mut taken, mut end) = (0, start);
        let mut whole = true;
        for next in part.ends.iter().skip(first) {
            let size = body.text.len() + (next - start);
            let more = limits.events.max(1) > body.events + taken;
            // At least one that has a text is taken.
            if !more || size > limits.bytes && body.text.len() + (end - start) > 0 && *next > end {
                whole = false;
                break;
            }
            (taken, end) = (taken + 1, *next);
        }
        body.text.extend_from_slice(part.text.get(start..end).unwrap_or_default());
        let unfit = part.unfit.iter().filter(|(nth, _)| (first..first + taken).contains(nth));
        body.unfit.extend(unfit.map(|(nth, why)| (body.events + nth - first, why.clone())));
        body.events += taken;
        if !whole {
            break;
        }
    }
    body
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bulk::tests::shape;
    use crate::bulk::{Action, Target, Verb, write};
    use crate::runtime::load::Load;
    use crate::template::Template;
    use crate::value::{Text, Timestamp};
    use proptest::prelude::*;

    /// Documents that are all alike, or each with a line of its own; those with `%{` in their message are unfit.
    fn shapes() -> [Shape; 2] {
        let named = |name: &str| Target::Index { name: Template::parse(name), built_in: false };
        let alike = Shape { document_id: None, target: named("logs-%{+YYYY.MM.dd}"), ..shape() };
        let own = Shape { target: named("%{message}"), verb: Verb::Always(Action::Update), ..shape() };
        [alike, own]
    }

    /// Batches of messages, and which of them are chosen.
    fn batches() -> impl Strategy<Value = Vec<(Vec<String>, Option<Vec<bool>>)>> {
        let message = prop_oneof![3 => "[a-z\"]{0,40}", 1 => Just("%{x}".to_owned())];
        let batch = (
            proptest::collection::vec(message, 0..6),
            proptest::option::of(proptest::collection::vec(any::<bool>(), 6)),
        );
        proptest::collection::vec(batch, 0..4)
    }

    proptest! {
        #[test]
        fn a_body_of_what_was_written_before_is_like_one_written_at_once(
            batches in batches(),
            from in 0_usize..8,
            bytes in 0_usize..900,
            events in prop_oneof![Just(usize::MAX), 0_usize..5],
        ) {
            for shape in shapes() {
                let shape = Arc::new(shape);
                let renderer = Renderer::new(shape.clone());
                let mut load = Load::default();
                for (nth, (messages, chosen)) in batches.iter().enumerate() {
                    let at = Timestamp::from_second(nth as i64 * 40_000).unwrap();
                    let all = messages.iter().map(|m| Event::with_message(at, Text::from(m.as_str())));
                    let all = Arc::new(all.collect::<Vec<_>>());
                    let places = |some: &Vec<bool>| {
                        let places = (0_u32..).zip(some).take(all.len());
                        Chosen::Some(places.filter(|(_, is)| **is).map(|(place, _)| place).collect())
                    };
                    let chosen = chosen.as_ref().map_or(Chosen::All, places);
                    let rendered = Arc::new(renderer.render(&all, &chosen));
                    load.add_rendered(all, chosen, Some(rendered));
                }
                let limits = Limits { bytes, events };
                let empty = || Body { text: Vec::new(), events: 0, unfit: Vec::new() };
                let gathered = gather(load.rendered().unwrap(), from, limits, empty());
                let written = write(&shape, &load, from, limits, empty());
                prop_assert_eq!(String::from_utf8(gathered.text), String::from_utf8(written.text));
                prop_assert_eq!((gathered.events, gathered.unfit), (written.events, written.unfit));
            }
        }
    }
}
