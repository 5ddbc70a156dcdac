//! Turns what an executor says of its node into what is shown, and keeps each text once however many nodes say it.
use super::NodeReport;
use config::document::{Key, Kind, Revision};
use proto::control as wire;
use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use tonic::Status;
use web::view::{self, Text};

/// With so many texts those that nobody has any more are looked for.
const SWEPT_AT: usize = 4096;

/// The texts that nodes have in common: images, configs, paths, states.
#[derive(Debug, Default)]
pub(super) struct Texts(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    texts: HashSet<Text>,
    swept_at: usize,
}

impl Texts {
    /// The same text, shared with whoever said it before.
    fn shared(&self, said: String) -> Text {
        if said.is_empty() {
            return Text::default();
        }
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(text) = known.texts.get(said.as_str()) {
            return text.clone();
        }
        if known.texts.len() >= known.swept_at.max(SWEPT_AT) {
            known.texts.retain(Text::is_shared);
            known.swept_at = known.texts.len() * 2;
        }
        let text = Text::from(said);
        known.texts.insert(text.clone());
        text
    }
}

/// A report as it is shown; of `before`, the last one of the same node, what is the same is kept.
pub(super) fn report(said: wire::Report, before: Option<&NodeReport>, texts: &Texts) -> NodeReport {
    let docker = said.docker.map(|d| view::Docker { reachable: d.reachable, detail: texts.shared(d.detail) });
    let known = |place: usize| before.and_then(|before| before.containers.get(place));
    let containers =
        said.containers.into_iter().enumerate().map(|(n, said)| container(said, known(n), texts));
    let known = |place: usize| before.and_then(|before| before.pipelines.get(place));
    let pipelines = said.pipelines.into_iter().enumerate().map(|(n, said)| view::Pipeline {
        id: kept(said.id, known(n).map(|known| &known.id)),
        state: texts.shared(said.state),
        reason: texts.shared(said.reason),
        counters: counters(said.counters),
    });
    NodeReport {
        revision: Revision(said.revision),
        docker,
        containers: containers.collect(),
        counters: counters(said.counters),
        pipelines: pipelines.collect(),
        resident_bytes: said.resident_bytes,
    }
}

/// The report after a movement.
pub(super) fn moved(before: &NodeReport, movement: wire::Movement) -> Result<NodeReport, Status> {
    let no_place = || Status::failed_precondition("a movement names what the report before it has not");
    let mut report = NodeReport { resident_bytes: movement.resident_bytes, ..before.clone() };
    if let Some(said) = movement.counters {
        report.counters = counters(Some(said));
    }
    if !movement.tails.is_empty() {
        let containers = Arc::make_mut(&mut report.containers);
        for moved in movement.tails {
            let container = place(moved.container).and_then(|place| containers.get_mut(place));
            let tail = container.and_then(|container| container.tails.get_mut(place(moved.tail)?));
            let tail = tail.ok_or_else(no_place)?;
            tail.read_position = moved.read_position;
            tail.acknowledged_position = moved.acknowledged_position;
            tail.spool_bytes = moved.spool_bytes;
            tail.dropped_lines = moved.dropped_lines;
        }
    }
    if !movement.pipelines.is_empty() {
        let pipelines = Arc::make_mut(&mut report.pipelines);
        for moved in movement.pipelines {
            let pipeline = place(moved.pipeline).and_then(|place| pipelines.get_mut(place));
            pipeline.ok_or_else(no_place)?.counters = counters(moved.counters);
        }
    }
    Ok(report)
}

fn place(number: u32) -> Option<usize> {
    usize::try_from(number).ok()
}

/// A text that only one node has: the one that is known, if it is the same.
fn kept(said: String, known: Option<&Text>) -> Text {
    match known {
        Some(known) if **known == *said => known.clone(),
        _ => Text::from(said),
    }
}

fn container(said: wire::Container, before: Option<&view::Container>, texts: &Texts) -> view::Container {
    use wire::container::State;
    let state = match State::try_from(said.state) {
        Ok(State::Streaming) => view::ContainerState::Streaming,
        Ok(State::NotMatched) => view::ContainerState::NotMatched,
        Ok(State::Draining) => view::ContainerState::Draining,
        Ok(State::Error | State::Unspecified) | Err(_) => view::ContainerState::Error,
    };
    let tails = said.tails.into_iter().map(|tail| view::Tail {
        path: texts.shared(tail.path),
        state: texts.shared(tail.state),
        read_position: tail.read_position,
        acknowledged_position: tail.acknowledged_position,
        spool_bytes: tail.spool_bytes,
        dropped_lines: tail.dropped_lines,
    });
    view::Container {
        tails: tails.collect(),
        id: kept(said.id, before.map(|before| &before.id)),
        name: kept(said.name, before.map(|before| &before.name)),
        image: texts.shared(said.image),
        state,
        reason: texts.shared(said.reason),
        config: texts.shared(said.config),
    }
}

fn counters(said: Option<wire::Counters>) -> view::Counters {
    let said = said.unwrap_or_default();
    view::Counters {
        events_in: said.events_in,
        events_out: said.events_out,
        bytes_in: said.bytes_in,
        dropped_lines: said.dropped_lines,
        dead_letters: said.dead_letters,
        retries: said.retries,
    }
}

/// A document that could not be applied; `None` for kinds that are not known.
pub(super) fn failure(failure: wire::Failure) -> Option<view::Failure> {
    let kind = match wire::Kind::try_from(failure.kind) {
        Ok(wire::Kind::Docker) => Kind::Docker,
        Ok(wire::Kind::Host) => Kind::Host,
        Ok(wire::Kind::Unspecified) | Err(_) => return None,
    };
    Some(view::Failure { key: Key { kind, name: failure.name }, reason: failure.reason })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use proto::movement;

    fn said(agent: usize, numbers: &[u64]) -> wire::Report {
        let container = |(n, number): (usize, &u64)| wire::Container {
            id: format!("{agent}-{n}"),
            name: format!("shop-{n}"),
            image: "web/shop:1".into(),
            tails: vec![wire::Tail {
                path: "/var/log/access.log".into(),
                read_position: *number,
                ..wire::Tail::default()
            }],
            ..wire::Container::default()
        };
        let pipeline = |(n, number): (usize, &u64)| wire::Pipeline {
            id: format!("{agent}-{n}"),
            state: "running".into(),
            reason: String::new(),
            counters: Some(wire::Counters { events_out: *number, ..wire::Counters::default() }),
        };
        wire::Report {
            containers: numbers.iter().enumerate().map(container).collect(),
            pipelines: numbers.iter().enumerate().map(pipeline).collect(),
            resident_bytes: numbers.iter().sum(),
            ..wire::Report::default()
        }
    }

    #[test]
    fn a_text_that_many_nodes_say_is_kept_once_and_what_only_one_says_as_long_as_it_is_the_same() {
        let texts = Texts::default();
        let first = report(said(1, &[1, 2]), None, &texts);
        let second = report(said(2, &[1, 2]), None, &texts);
        let image = |report: &NodeReport| report.containers[0].image.as_ptr();
        assert_eq!(image(&first), image(&second));
        let again = report(said(1, &[3, 4]), Some(&first), &texts);
        assert_eq!(again.containers[1].id.as_ptr(), first.containers[1].id.as_ptr());
        assert_eq!(again.containers[1].tails[0].read_position, 4);
    }

    #[test]
    fn texts_that_nobody_has_any_more_are_forgotten() {
        let texts = Texts::default();
        let kept = texts.shared("kept".into());
        for n in 0..SWEPT_AT * 3 {
            texts.shared(n.to_string());
        }
        let known = texts.0.lock().unwrap();
        assert!(known.texts.len() <= SWEPT_AT && known.texts.contains(&kept), "{}", known.texts.len());
    }

    #[test]
    fn a_movement_of_what_is_not_there_is_refused() {
        let before = report(said(1, &[1]), None, &Texts::default());
        let tail = |container, tail| wire::TailMoved { container, tail, ..wire::TailMoved::default() };
        for tail in [tail(1, 0), tail(0, 1), tail(u32::MAX, u32::MAX)] {
            assert!(
                moved(&before, wire::Movement { tails: vec![tail], ..wire::Movement::default() }).is_err()
            );
        }
        let pipelines = vec![wire::PipelineMoved { pipeline: 1, counters: None }];
        assert!(moved(&before, wire::Movement { pipelines, ..wire::Movement::default() }).is_err());
    }

    proptest! {
        #[test]
        fn after_a_movement_the_report_is_as_if_it_had_been_sent_whole(
            numbers in prop::collection::vec((0..3u64, 0..3u64), 0..6),
        ) {
            let (before, after): (Vec<u64>, Vec<u64>) = numbers.into_iter().unzip();
            let (before, after, texts) = (said(1, &before), said(1, &after), Texts::default());
            let movement = movement::between(&before, &after).unwrap();
            let by_movement = moved(&report(before, None, &texts), movement).unwrap();
            prop_assert_eq!(format!("{by_movement:?}"), format!("{:?}", report(after, None, &texts)));
        }
    }
}
