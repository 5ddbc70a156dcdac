//! Decides who leads, and when a leader has to stop: members, signs and moments in, verdicts out.
use crate::ids::Moment;
use std::time::Duration;

/// What the name of a member of the election begins with.
pub const LATCH: &str = "latch-";

/// Where one scheduler stands among the members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// It has the smallest number.
    First,
    /// That member has.
    Behind(String),
    /// It is no member.
    Absent,
}

/// The members in their order; what is no latch is no member.
fn in_order(members: &[String]) -> Vec<(u64, &String)> {
    let number = |name: &String| name.strip_prefix(LATCH)?.parse::<u64>().ok();
    let mut known: Vec<(u64, &String)> =
        members.iter().filter_map(|name| Some((number(name)?, name))).collect();
    known.sort();
    known
}

/// The member that leads.
pub fn first(members: &[String]) -> Option<&str> {
    in_order(members).first().map(|(_, name)| name.as_str())
}

/// Where `mine` stands among the members.
pub fn place(members: &[String], mine: &str) -> Place {
    let known = in_order(members);
    match known.first() {
        Some((_, first)) if *first == mine => Place::First,
        Some((_, first)) if known.iter().any(|(_, name)| *name == mine) => Place::Behind((*first).clone()),
        _ => Place::Absent,
    }
}

/// What a leader learns about its standing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign {
    /// The session has a connection.
    Connected,
    /// It has none, or one to a server that cannot write.
    Disconnected,
    /// The session is over.
    SessionOver,
    /// Its own latch is gone.
    LatchGone,
    /// A write was refused since another scheduler has led since.
    Deposed,
}

/// Why a leadership is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Lost {
    /// Without a connection for too long.
    #[error("the connection to ZooKeeper is lost")]
    Connection,
    /// The session is over.
    #[error("the ZooKeeper session is over")]
    Session,
    /// The latch is gone.
    #[error("its place in the election is gone")]
    Latch,
    /// Another one has led since.
    #[error("another scheduler leads")]
    Deposed,
}

/// How long a leader may believe that it leads.
///
/// The client says `Disconnected` at the latest when two fifths of the session timeout passed without an answer, and at
/// once when a connection breaks. Another fifth is waited, in which it usually finds another server of the ensemble; so a
/// leader stops two fifths of the timeout before the servers can give its place to another one.
#[derive(Clone, Copy, Debug)]
pub struct Tenure {
    patience: Duration,
    away_since: Option<Moment>,
    lost: Option<Lost>,
}

impl Tenure {
    /// One that begins connected, with that session timeout.
    pub fn new(session_timeout: Duration) -> Self {
        Self { patience: session_timeout / 5, away_since: None, lost: None }
    }

    /// Takes in a sign.
    pub fn learn(&mut self, now: Moment, sign: Sign) {
        let lost = match sign {
            Sign::Connected => {
                // Too late is too late, also when nobody looked meanwhile.
                self.look(now);
                self.away_since = None;
                return;
            }
            Sign::Disconnected => {
                self.away_since.get_or_insert(now);
                return;
            }
            Sign::SessionOver => Lost::Session,
            Sign::LatchGone => Lost::Latch,
            Sign::Deposed => Lost::Deposed,
        };
        self.lost.get_or_insert(lost);
    }

    /// Looks at the time; `Some` for good once the leadership is over.
    pub fn look(&mut self, now: Moment) -> Option<Lost> {
        if self.ends_in(now).is_some_and(|left| left.is_zero()) {
            self.lost.get_or_insert(Lost::Connection);
        }
        self.lost
    }

    /// How long it lasts if nothing happens; `None`: on and on.
    pub fn ends_in(&self, now: Moment) -> Option<Duration> {
        self.away_since.map(|since| self.patience.saturating_sub(now.since(since)))
    }
}

/// Whether a scheduler may stand for election.
///
/// One whose framework was taken over by a scheduler outside of this election would take it back, and so on for ever:
/// it stands again only when somebody else of this election has led since.
#[derive(Clone, Copy, Debug, Default)]
pub struct Candidacy {
    superseded_in: Option<u64>,
}

impl Candidacy {
    /// Mesos gave the framework to another scheduler while this one led in that epoch.
    pub fn superseded(&mut self, epoch: u64) {
        self.superseded_in = Some(epoch);
    }

    /// Whether it may stand while this is the newest epoch.
    pub fn may_stand(&self, newest: u64) -> bool {
        self.superseded_in.is_none_or(|epoch| newest > epoch)
    }
}

#[cfg(test)]
mod tests;
