//! Finds what moved between two reports of a node: mostly nothing but numbers, in few of its containers.
use crate::control::{Container, Movement, Pipeline, PipelineMoved, Report, Tail, TailMoved};

/// What is new in `after`, if that is nothing but numbers; else the whole report has to be sent.
pub fn between(before: &Report, after: &Report) -> Option<Movement> {
    let same = before.revision == after.revision
        && before.docker == after.docker
        && before.containers.len() == after.containers.len()
        && before.pipelines.len() == after.pipelines.len();
    if !same {
        return None;
    }
    let mut movement = Movement {
        counters: after.counters.filter(|_| before.counters != after.counters),
        resident_bytes: after.resident_bytes,
        ..Movement::default()
    };
    for (place, (before, after)) in (0..).zip(before.containers.iter().zip(&after.containers)) {
        tails_moved(place, before, after, &mut movement.tails)?;
    }
    for (place, (before, after)) in (0..).zip(before.pipelines.iter().zip(&after.pipelines)) {
        let Pipeline { id, state, reason, counters } = before;
        if (id, state, reason) != (&after.id, &after.state, &after.reason) {
            return None;
        }
        if *counters != after.counters {
            movement.pipelines.push(PipelineMoved { pipeline: place, counters: after.counters });
        }
    }
    Some(movement)
}

/// `None`: something else is new as well.
fn tails_moved(place: u32, before: &Container, after: &Container, moved: &mut Vec<TailMoved>) -> Option<()> {
    let Container { id, name, image, state, reason, config, tails } = before;
    let same = (id, name, image, state) == (&after.id, &after.name, &after.image, &after.state)
        && (reason, config, tails.len()) == (&after.reason, &after.config, after.tails.len());
    if !same {
        return None;
    }
    for (tail, (before, after)) in (0..).zip(tails.iter().zip(&after.tails)) {
        let Tail { path, state, read_position, acknowledged_position, spool_bytes, dropped_lines } = after;
        if (path, state) != (&before.path, &before.state) {
            return None;
        }
        if before != after {
            moved.push(TailMoved {
                container: place,
                tail,
                read_position: *read_position,
                acknowledged_position: *acknowledged_position,
                spool_bytes: *spool_bytes,
                dropped_lines: *dropped_lines,
            });
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::{Counters, DockerState};

    fn report() -> Report {
        let tail = Tail { path: "/log".into(), state: "reading".into(), ..Tail::default() };
        let container = |id: &str| Container {
            id: id.into(),
            tails: vec![tail.clone(), tail.clone()],
            ..Container::default()
        };
        let pipeline = |id: &str| Pipeline { id: id.into(), ..Pipeline::default() };
        Report {
            containers: vec![container("a"), container("b")],
            pipelines: vec![pipeline("a"), pipeline("b")],
            ..Report::default()
        }
    }

    #[test]
    fn what_moved_is_named_by_its_place_and_nothing_else_is() {
        let mut after = report();
        let counters = Some(Counters { events_out: 5, ..Counters::default() });
        after.containers[1].tails[0].read_position = 7;
        after.pipelines[1].counters = counters;
        (after.counters, after.resident_bytes) = (counters, 3);
        let moved = TailMoved { container: 1, tail: 0, read_position: 7, ..TailMoved::default() };
        let movement = Movement {
            counters,
            resident_bytes: 3,
            tails: vec![moved],
            pipelines: vec![PipelineMoved { pipeline: 1, counters }],
        };
        assert_eq!(between(&report(), &after), Some(movement));
        assert_eq!(between(&report(), &report()), Some(Movement::default()));
    }

    #[test]
    fn where_more_than_numbers_is_new_there_is_no_movement() {
        let changes: [fn(&mut Report); 9] = [
            |r| r.revision = 2,
            |r| r.docker = Some(DockerState::default()),
            |r| r.containers.truncate(1),
            |r| r.containers.swap(0, 1),
            |r| r.containers[0].reason = "new".into(),
            |r| r.containers[1].tails[1].state = "ended".into(),
            |r| r.containers[1].tails.truncate(1),
            |r| r.pipelines[0].state = "failed".into(),
            |r| r.pipelines.truncate(1),
        ];
        for (n, change) in changes.iter().enumerate() {
            let mut after = report();
            change(&mut after);
            assert_eq!(between(&report(), &after), None, "change {n}");
        }
    }
}
