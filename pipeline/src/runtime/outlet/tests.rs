//! Outlets with outputs that fail at random, under a clock of the test's own.
use super::*;
use crate::runtime::load::Failure;
use crate::value::{Text, Timestamp};
use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use tokio::task::JoinSet;

#[test]
fn pauses_grow_to_a_limit_and_vary() {
    let longest: Vec<u128> = [1, 2, 3, 30].map(|n| pause(n, (None, None), 0.0).as_millis()).to_vec();
    assert_eq!(longest, [50, 100, 200, 10_000]);
    assert_eq!(pause(1, (None, None), 1.0), Duration::from_millis(25));
    assert_eq!(pause(u32::MAX, (None, None), 0.5), Duration::from_millis(7500));
    let own = (Some(Duration::from_secs(2)), Some(Duration::from_secs(64)));
    assert_eq!([1, 6, 60].map(|n| pause(n, own, 0.0).as_secs()), [2, 64, 64]);
}

/// What an output does with a load, one time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mood {
    TakesAll,
    /// It takes some, and says which are left.
    TakesSome,
    /// It takes some, and the connection is cut before it can say so.
    TakesSomeAndIsCut,
    TakesNothing,
    /// It takes its time, and then nothing.
    Hangs,
}

const MOODS: [Mood; 5] =
    [Mood::TakesAll, Mood::TakesSome, Mood::TakesSomeAndIsCut, Mood::TakesNothing, Mood::Hangs];

/// The world beyond the output.
#[derive(Debug, Default)]
struct Beyond {
    /// How often each event was taken.
    taken: BTreeMap<u64, u32>,
    dead: BTreeMap<u64, u32>,
    /// The loads that are on their way, by their first events.
    on_their_way: Vec<Vec<u64>>,
    most_at_once: usize,
}

/// What is the same for all outputs of one test.
struct World {
    beyond: Mutex<Beyond>,
    chance: Mutex<StdRng>,
    moods: Vec<Mood>,
    at_once: usize,
}

impl World {
    fn chance<T>(&self, of: impl FnOnce(&mut StdRng) -> T) -> T {
        of(&mut self.chance.lock().unwrap())
    }
}

/// An event that an output never takes.
fn is_refused(number: u64) -> bool {
    number % 7 == 3
}

/// An event that may not be overtaken.
fn is_in_order(number: u64) -> bool {
    number % 13 == 5
}

fn number(event: &Event) -> u64 {
    event.fields().get("message").unwrap().to_text().parse().unwrap()
}

struct Unreliable(Arc<World>);

impl Output for Unreliable {
    fn deliver<'a>(&'a mut self, load: &'a Load) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(async move {
            let numbers: Vec<u64> = load.iter().map(number).collect();
            {
                let mut beyond = self.0.beyond.lock().unwrap();
                let others = beyond.on_their_way.len();
                if others > 0 {
                    let all = beyond.on_their_way.iter().flatten().chain(&numbers);
                    assert!(!all.copied().any(is_in_order), "what may not be overtaken is alone");
                }
                beyond.on_their_way.push(numbers.clone());
                beyond.most_at_once = beyond.most_at_once.max(others + 1);
            }
            let mood = self.0.chance(|chance| self.0.moods[chance.random_range(0..self.0.moods.len())]);
            let pause = match mood {
                Mood::Hangs => 60_000,
                _ => self.0.chance(|chance| chance.random_range(0..200)),
            };
            crate::trial::passes(Duration::from_millis(pause)).await;
            let result = self.take(load, &numbers, mood);
            let mut beyond = self.0.beyond.lock().unwrap();
            beyond.on_their_way.retain(|other| *other != numbers);
            result
        })
    }

    fn crew(&self) -> Option<Arc<dyn Crew>> {
        (self.0.at_once > 1).then(|| Arc::new(Hands(self.0.clone())) as Arc<dyn Crew>)
    }
}

impl Unreliable {
    fn take(&self, load: &Load, numbers: &[u64], mood: Mood) -> Result<(), Failure> {
        let mut beyond = self.0.beyond.lock().unwrap();
        let takes = |chance: &mut StdRng| match mood {
            Mood::TakesAll => true,
            Mood::TakesNothing | Mood::Hangs => false,
            Mood::TakesSome | Mood::TakesSomeAndIsCut => chance.random_bool(0.6),
        };
        let mut left = BTreeSet::new();
        for (nth, number) in numbers.iter().enumerate() {
            match self.0.chance(takes) {
                false => drop(left.insert(nth)),
                // Only who says so knows what was refused.
                true if is_refused(*number) && mood == Mood::TakesSomeAndIsCut => {}
                true if is_refused(*number) => *beyond.dead.entry(*number).or_default() += 1,
                true => *beyond.taken.entry(*number).or_default() += 1,
            }
        }
        match mood {
            Mood::TakesAll => Ok(()),
            Mood::TakesSome if left.is_empty() => Ok(()),
            Mood::TakesSome => Err(Failure::partly("some are left", load.keep(|nth| left.contains(&nth)))),
            Mood::TakesSomeAndIsCut => Err(Failure::whole("the connection was cut")),
            Mood::TakesNothing | Mood::Hangs => Err(Failure::whole("not now")),
        }
    }
}

struct Hands(Arc<World>);

impl Crew for Hands {
    fn has_room_beside(&self, busy: usize) -> bool {
        busy < self.0.at_once
    }

    fn keeps_order(&self, load: &Load) -> bool {
        load.iter().map(number).any(is_in_order)
    }

    fn hire(&self) -> Box<dyn Output> {
        Box::new(Unreliable(self.0.clone()))
    }
}

fn event(number: u64) -> Event {
    Event::with_message(Timestamp::UNIX_EPOCH, Text::from(number.to_string()))
}

/// Sends parcels of so many events through an outlet, and looks at each that is told to be delivered whether it is.
async fn play(world: &Arc<World>, sizes: &[usize]) {
    let (parcels_in, parcels) = mpsc::channel(WAITING_MAX);
    let outlet = Outlet {
        id: "unreliable".to_owned(),
        output: Box::new(Unreliable(world.clone())),
        parcels,
        tally: Arc::default(),
        health: Arc::new(Health::new()),
    };
    let health = outlet.health.clone();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move { outlet.run().await.unwrap() });
    let mut next = 0;
    for size in sizes {
        let numbers: Vec<u64> = (next..).take(*size).collect();
        next += *size as u64;
        let events = Arc::new(numbers.iter().copied().map(event).collect());
        let (done, wait) = oneshot::channel();
        parcels_in.send(Parcel { events, chosen: Chosen::All, rendered: None, done }).await.ok().unwrap();
        let world = world.clone();
        tasks.spawn(async move {
            wait.await.unwrap();
            let beyond = world.beyond.lock().unwrap();
            for number in numbers {
                let of = if is_refused(number) { &beyond.dead } else { &beyond.taken };
                assert!(of.contains_key(&number), "{number} was acknowledged, but is nowhere");
            }
        });
    }
    drop(parcels_in);
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap();
    }
    assert_eq!(*health.watch().borrow(), crate::runtime::State::Running, "no trouble is left");
}

fn moods() -> impl Strategy<Value = Vec<Mood>> {
    // One that takes something at last is always there.
    proptest::sample::subsequence(MOODS.to_vec(), 0..=5).prop_map(|mut moods| {
        moods.push(Mood::TakesAll);
        moods
    })
}

proptest! {
    #[test]
    fn however_an_output_fails_each_event_arrives_or_is_a_dead_letter_and_none_is_acknowledged_before(
        moods in moods(),
        sizes in proptest::collection::vec(1_usize..30, 1..60),
        at_once in 1_usize..6,
        seed in any::<u64>(),
    ) {
        let may_repeat = moods.contains(&Mood::TakesSomeAndIsCut);
        let world = Arc::new(World {
            beyond: Mutex::default(),
            chance: Mutex::new(StdRng::seed_from_u64(seed)),
            moods,
            at_once,
        });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.unwrap().block_on(play(&world, &sizes));
        let beyond = world.beyond.lock().unwrap();
        for number in 0..sizes.iter().sum::<usize>() as u64 {
            let (taken, dead) = (beyond.taken.get(&number), beyond.dead.get(&number));
            if is_refused(number) {
                prop_assert_eq!((taken, dead), (None, Some(&1)), "{}", number);
            } else {
                prop_assert!(dead.is_none() && (taken == Some(&1) || may_repeat && taken.is_some()), "{number}: {taken:?}");
            }
        }
        prop_assert!(beyond.most_at_once <= at_once);
    }
}

#[tokio::test(start_paused = true)]
async fn another_load_goes_beside_a_busy_one_only_when_it_is_whole() {
    let world = Arc::new(World {
        beyond: Mutex::default(),
        chance: Mutex::new(StdRng::seed_from_u64(1)),
        moods: vec![Mood::Hangs],
        at_once: 2,
    });
    let (parcels_in, parcels) = mpsc::channel(WAITING_MAX);
    let outlet = Outlet {
        id: "o".to_owned(),
        output: Box::new(Unreliable(world.clone())),
        parcels,
        tally: Arc::default(),
        health: Arc::new(Health::new()),
    };
    let mut tasks = JoinSet::new();
    tasks.spawn(outlet.run());
    let mut waits = Vec::new();
    for (parcels, expected) in [(1, vec![1]), (WAITING_MAX - 1, vec![1]), (1, vec![1, 4]), (4, vec![1, 4])] {
        for _ in 0..parcels {
            let (done, wait) = oneshot::channel();
            waits.push(wait);
            let events = Arc::new(vec![event(1)]);
            parcels_in.send(Parcel { events, chosen: Chosen::All, rendered: None, done }).await.ok().unwrap();
        }
        // The clock stands still while anybody can work.
        tokio::time::advance(Duration::from_millis(1)).await;
        let sizes: Vec<usize> =
            world.beyond.lock().unwrap().on_their_way.iter().map(|load| load.len()).collect();
        assert_eq!(sizes, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn who_takes_some_of_a_load_each_time_is_asked_again_soon() {
    struct OneByOne;
    impl Output for OneByOne {
        fn deliver<'a>(&'a mut self, load: &'a Load) -> BoxFuture<'a, Result<(), Failure>> {
            Box::pin(async { Err(Failure::partly("only one at a time", load.keep(|nth| nth > 0))) })
        }
    }
    let (parcels_in, parcels) = mpsc::channel(1);
    let (done, wait) = oneshot::channel();
    let events = Arc::new((0..200).map(event).collect());
    parcels_in.try_send(Parcel { events, chosen: Chosen::All, rendered: None, done }).ok().unwrap();
    drop(parcels_in);
    let (tally, health) = (Arc::default(), Arc::new(Health::new()));
    let outlet = Outlet { id: "o".to_owned(), output: Box::new(OneByOne), parcels, tally, health };
    let begun = tokio::time::Instant::now();
    outlet.run().await.unwrap();
    wait.await.unwrap();
    assert!(begun.elapsed() <= PAUSE_MIN * 200, "{:?}", begun.elapsed());
}

#[tokio::test]
async fn an_output_without_hope_acknowledges_nothing_and_says_why() {
    struct Hopeless;
    impl Output for Hopeless {
        fn deliver<'a>(&'a mut self, _: &'a Load) -> BoxFuture<'a, Result<(), Failure>> {
            Box::pin(async { Err(Failure::hopeless("nobody reads any more")) })
        }
    }
    let (parcels_in, parcels) = mpsc::channel(1);
    let (done, wait) = oneshot::channel();
    let events = Arc::new(vec![event(1)]);
    parcels_in.try_send(Parcel { events, chosen: Chosen::All, rendered: None, done }).ok().unwrap();
    let (tally, health) = (Arc::default(), Arc::new(Health::new()));
    let outlet = Outlet { id: "o".to_owned(), output: Box::new(Hopeless), parcels, tally, health };
    assert_eq!(outlet.run().await.unwrap_err(), "nobody reads any more");
    assert!(wait.await.is_err());
}
