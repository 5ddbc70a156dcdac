//! Plays servers of many kinds under a clock of its own.
use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

/// A server that answers after `pause` while no more than `room` requests are with it; beyond that it takes as much longer as
/// there are more, or refuses.
#[derive(Clone, Copy, Debug)]
struct Server {
    room: usize,
    pause: Duration,
    refuses: bool,
}

impl Server {
    fn answer(self, with_it: usize) -> (Duration, bool) {
        if with_it <= self.room {
            return (self.pause, true);
        }
        if self.refuses {
            return (self.pause / 10, false);
        }
        (self.pause * u32::try_from(with_it).unwrap() / u32::try_from(self.room).unwrap(), true)
    }
}

/// Sends as many requests as it may, each as soon as it may, until `for_how_long` has passed; the limits that it saw.
fn play(core: &mut Concurrency, start: Instant, server: Server, for_how_long: Duration) -> Vec<usize> {
    let mut now = start;
    // By the moment at which they end; the number tells those apart that end together.
    let mut under_way: BTreeMap<(Instant, u64), (Duration, bool)> = BTreeMap::new();
    let (mut number, mut limits) = (0, Vec::new());
    while now < start + for_how_long {
        while core.begin(now) {
            number += 1;
            let (took, good) = server.answer(under_way.len() + 1);
            under_way.insert((now + took, number), (took, good));
        }
        let ((at, _), (took, good)) = under_way.pop_first().unwrap();
        now = at;
        core.end(now, if good { Ended::Answered(took) } else { Ended::Pressed });
        limits.push(core.limit());
    }
    for _ in under_way {
        core.end(now, Ended::GivenUp);
    }
    limits
}

const MINUTE: Duration = Duration::from_secs(60);

#[test]
fn against_a_server_with_much_room_the_limit_grows_to_the_most() {
    let mut core = Concurrency::up_to(16);
    let server = Server { room: 100, pause: Duration::from_millis(200), refuses: false };
    play(&mut core, Instant::now(), server, MINUTE);
    assert_eq!(core.limit(), 16);
}

#[test]
fn against_a_server_that_refuses_beyond_its_room_the_limit_stays_about_there_and_tries_again() {
    let mut core = Concurrency::up_to(16);
    let server = Server { room: 6, pause: Duration::from_millis(200), refuses: true };
    let start = Instant::now();
    play(&mut core, start, server, MINUTE);
    let limits = play(&mut core, start + MINUTE, server, MINUTE);
    assert!(limits.iter().all(|limit| (3..=7).contains(limit)), "{limits:?}");
    assert!(limits.contains(&6), "{limits:?}");
}

#[test]
fn a_server_that_goes_down_and_comes_back_gets_one_request_at_a_time_and_then_more_again() {
    let mut core = Concurrency::up_to(8);
    let start = Instant::now();
    let well = Server { room: 100, pause: Duration::from_millis(100), refuses: false };
    let down = Server { room: 0, refuses: true, ..well };
    play(&mut core, start, well, MINUTE);
    assert_eq!(core.limit(), 8);
    play(&mut core, start + MINUTE, down, MINUTE);
    assert_eq!(core.limit(), 1);
    play(&mut core, start + 2 * MINUTE, well, MINUTE);
    assert_eq!(core.limit(), 8);
}

#[test]
fn a_sudden_slowness_makes_the_limit_smaller() {
    let mut core = Concurrency::up_to(8);
    let start = Instant::now();
    let quick = Server { room: 100, pause: Duration::from_millis(100), refuses: false };
    play(&mut core, start, quick, MINUTE);
    let slow = Server { pause: Duration::from_millis(400), ..quick };
    let limits = play(&mut core, start + MINUTE, slow, Duration::from_secs(2));
    assert!(limits.iter().any(|limit| *limit < 8), "{limits:?}");
}

#[test]
fn nobody_who_had_to_wait_means_no_growth() {
    let mut core = Concurrency::up_to(8);
    let mut now = Instant::now();
    for _ in 0..100 {
        assert!(core.begin(now));
        now += Duration::from_millis(100);
        core.end(now, Ended::Answered(Duration::from_millis(100)));
    }
    assert_eq!(core.limit(), 1);
    core.wish_for_more(now);
    for _ in 0..2 {
        assert!(core.begin(now));
        now += Duration::from_millis(100);
        core.end(now, Ended::Answered(Duration::from_millis(100)));
    }
    assert_eq!(core.limit(), 2);
}

#[derive(Clone, Debug)]
enum Step {
    Begin,
    Wish,
    End(Ended),
    Wait(Duration),
}

fn any_step() -> impl Strategy<Value = Step> {
    let time = prop_oneof![
        (0_u64..2000).prop_map(Duration::from_millis),
        Just(Duration::ZERO),
        Just(Duration::MAX),
        Just(Duration::from_secs(100_000)),
    ];
    prop_oneof![
        Just(Step::Begin),
        Just(Step::Wish),
        time.prop_map(|took| Step::End(Ended::Answered(took))),
        Just(Step::End(Ended::Pressed)),
        Just(Step::End(Ended::GivenUp)),
        (0_u64..3000).prop_map(|ms| Step::Wait(Duration::from_millis(ms))),
    ]
}

proptest! {
    #[test]
    fn whatever_happens_the_limit_is_kept_and_changes_by_its_rules(
        steps in proptest::collection::vec(any_step(), 0..300),
        most in 0_usize..20,
    ) {
        let mut core = Concurrency::up_to(most);
        let (mut now, mut under_way) = (Instant::now(), 0_usize);
        for step in steps {
            let before = core.limit();
            match step {
                Step::Begin => {
                    let let_in = core.begin(now);
                    prop_assert_eq!(let_in, under_way < before);
                    under_way += usize::from(let_in);
                }
                Step::Wish => core.wish_for_more(now),
                Step::End(ended) if under_way > 0 => {
                    core.end(now, ended);
                    under_way -= 1;
                    let fewest = (before * 3 / 4).max(1);
                    prop_assert!((fewest..=before + 1).contains(&core.limit()), "{} after {before}", core.limit());
                    match ended {
                        Ended::Pressed => prop_assert!(core.limit() <= before),
                        Ended::GivenUp => prop_assert_eq!(core.limit(), before),
                        Ended::Answered(_) => {}
                    }
                }
                Step::End(_) => {}
                Step::Wait(pause) => now += pause,
            }
            prop_assert!((1..=most.max(1)).contains(&core.limit()));
        }
    }

    #[test]
    fn against_any_server_that_refuses_the_limit_ends_near_its_room(
        room in 1_usize..12, pause_ms in 5_u64..2000,
    ) {
        let mut core = Concurrency::up_to(16);
        let server = Server { room, pause: Duration::from_millis(pause_ms), refuses: true };
        let start = Instant::now();
        play(&mut core, start, server, 5 * MINUTE);
        let limits = play(&mut core, start + 5 * MINUTE, server, MINUTE);
        let least = (room * 3 / 4 * 3 / 4).max(1);
        prop_assert!(limits.iter().all(|limit| (least..=room + 1).contains(limit)), "{room}: {limits:?}");
    }
}
