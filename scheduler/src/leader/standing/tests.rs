use super::*;
use proptest::prelude::*;

const SESSION: Duration = Duration::from_secs(10);

fn names(members: &[&str]) -> Vec<String> {
    members.iter().map(|&name| name.to_owned()).collect()
}

#[test]
fn the_smallest_number_leads_and_what_is_no_latch_does_not_count() {
    let members = names(&["latch-0000000012", "other", "latch-x", "latch-0000000009", "lock-0000000001"]);
    assert_eq!(first(&members), Some("latch-0000000009"));
    assert_eq!(place(&members, "latch-0000000009"), Place::First);
    assert_eq!(place(&members, "latch-0000000012"), Place::Behind("latch-0000000009".into()));
    assert_eq!(place(&members, "latch-0000000013"), Place::Absent);
    assert_eq!((place(&[], "latch-0000000001"), first(&[])), (Place::Absent, None));
}

#[test]
fn a_short_break_is_waited_out_and_a_long_one_ends_the_leadership_before_the_session_can() {
    let at = |seconds: u64| Moment(seconds * 1000);
    let mut tenure = Tenure::new(SESSION);
    tenure.learn(at(100), Sign::Disconnected);
    assert_eq!(tenure.look(at(101)), None);
    assert_eq!(tenure.ends_in(at(101)), Some(Duration::from_secs(1)));
    tenure.learn(at(101), Sign::Connected);
    assert_eq!((tenure.look(at(500)), tenure.ends_in(at(500))), (None, None));
    tenure.learn(at(600), Sign::Disconnected);
    tenure.learn(at(601), Sign::Disconnected);
    assert_eq!(tenure.look(at(602)), Some(Lost::Connection));
    tenure.learn(at(602), Sign::Connected);
    assert_eq!(tenure.look(at(603)), Some(Lost::Connection), "what is lost stays lost");
}

#[test]
fn a_process_that_slept_through_the_break_does_not_lead_on() {
    let mut tenure = Tenure::new(SESSION);
    tenure.learn(Moment(0), Sign::Disconnected);
    tenure.learn(Moment(60_000), Sign::Connected);
    assert_eq!(tenure.look(Moment(60_000)), Some(Lost::Connection));
}

#[test]
fn who_was_superseded_stands_again_only_after_somebody_else_led() {
    let mut candidacy = Candidacy::default();
    assert!(candidacy.may_stand(0));
    candidacy.superseded(7);
    assert!(!candidacy.may_stand(7));
    assert!(candidacy.may_stand(8));
}

/// A ZooKeeper with an election, an epoch and one register that is written under the fence; and schedulers that learn of
/// all this late or never.
#[derive(Debug, Default)]
struct World {
    next_latch: u64,
    latches: Vec<(usize, String)>,
    epoch: u64,
    /// Who wrote under which epoch, in the order in which it was taken.
    history: Vec<(usize, u64)>,
    refused: usize,
    schedulers: Vec<Scheduler>,
}

#[derive(Clone, Debug, Default)]
struct Scheduler {
    latch: Option<String>,
    /// The members as it last saw them.
    seen: Vec<String>,
    /// The epoch in which it believes to lead.
    leads: Option<u64>,
}

#[derive(Clone, Debug)]
enum Step {
    Join(usize),
    Look(usize),
    TakeOffice(usize),
    Write(usize),
    /// The servers end its session; it does not know.
    Expire(usize),
    /// It learns that its session is over.
    Learn(usize),
}

impl World {
    fn members(&self) -> Vec<String> {
        self.latches.iter().map(|(_, name)| name.clone()).collect()
    }

    fn go(&mut self, step: &Step) {
        match *step {
            Step::Join(who) if self.schedulers[who].latch.is_none() => {
                let name = format!("{LATCH}{:010}", self.next_latch);
                self.next_latch += 1;
                self.latches.push((who, name.clone()));
                self.schedulers[who].latch = Some(name);
            }
            Step::Look(who) => self.schedulers[who].seen = self.members(),
            Step::TakeOffice(who) => {
                let Scheduler { latch: Some(latch), seen, leads: None } = &self.schedulers[who] else {
                    return;
                };
                if place(seen, latch) == Place::First && self.members().contains(latch) {
                    self.epoch += 1;
                    self.schedulers[who].leads = Some(self.epoch);
                }
            }
            Step::Write(who) => match self.schedulers[who].leads {
                Some(epoch) if epoch == self.epoch => self.history.push((who, epoch)),
                Some(_) => {
                    self.refused += 1;
                    self.schedulers[who].leads = None;
                }
                None => {}
            },
            Step::Expire(who) => self.latches.retain(|(of, _)| *of != who),
            Step::Learn(who) => {
                let gone = self.schedulers[who].latch.as_ref().is_some_and(|l| !self.members().contains(l));
                if gone {
                    self.schedulers[who] = Scheduler::default();
                }
            }
            Step::Join(_) => {}
        }
    }
}

fn step() -> impl Strategy<Value = Step> {
    (0..6usize, 0..3usize).prop_map(|(what, who)| match what {
        0 => Step::Join(who),
        1 => Step::Look(who),
        2 => Step::TakeOffice(who),
        3 => Step::Write(who),
        4 => Step::Expire(who),
        _ => Step::Learn(who),
    })
}

proptest! {
    #[test]
    fn whatever_schedulers_believe_no_write_of_an_earlier_leader_comes_after_one_of_a_later(
        steps in prop::collection::vec(step(), 0..200)
    ) {
        let mut world = World { schedulers: vec![Scheduler::default(); 3], ..World::default() };
        for step in &steps {
            world.go(step);
        }
        prop_assert!(world.history.is_sorted_by_key(|(_, epoch)| *epoch));
        for pair in world.history.windows(2) {
            prop_assert!(pair[0].1 != pair[1].1 || pair[0].0 == pair[1].0, "two leaders in one epoch");
        }
        // And it never ends without a leader for good.
        for who in 0..3 {
            world.go(&Step::Learn(who));
            world.go(&Step::Join(who));
        }
        for who in 0..3 {
            world.go(&Step::Look(who));
            world.go(&Step::TakeOffice(who));
        }
        let leads = world.schedulers.iter().filter(|s| s.leads == Some(world.epoch)).count();
        prop_assert_eq!(leads, 1);
    }

    #[test]
    fn a_leader_without_a_connection_stops_in_time_however_rarely_it_looks(
        away in 0u64..20_000, looks in prop::collection::vec(0u64..20_000, 0..10)
    ) {
        let mut tenure = Tenure::new(SESSION);
        tenure.learn(Moment(away), Sign::Disconnected);
        for at in looks {
            let over = tenure.look(Moment(away + at));
            prop_assert!(at < 2000 || over == Some(Lost::Connection));
        }
    }

    #[test]
    fn any_names_of_members_are_put_in_order(members in prop::collection::vec("(latch-)?[0-9a-z-]{0,12}", 0..8)) {
        if let Some(leader) = first(&members) {
            prop_assert_eq!(place(&members, leader), Place::First);
        }
    }
}
