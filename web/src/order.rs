//! Holds what people want done with the executors themselves, typed, and the answers: the channel between the API and whoever
//! keeps the fleet.
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use tokio::sync::oneshot;

/// What a person wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// Replace executors of older generations, a few at a time.
    Upgrade(Upgrade),
    /// Replace no more for now.
    Pause,
    /// Go on replacing; launch now what waits for its next launch.
    Resume,
    /// Replace no more; what was replaced stays.
    Abort,
    /// Go back to the generation before.
    RollBack,
    /// End all executors, give up what is reserved, and remove the framework for good.
    TearDown {
        /// The framework's id, so that it is this one that is meant.
        framework: String,
    },
}

/// How executors are to be replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upgrade {
    /// How many nodes may be without a proven executor at once, for whatever reason.
    pub max_unavailable: Limit,
    /// Which nodes go first.
    pub canary: Option<Canary>,
    /// Whether to pause once those have proven.
    pub pause_after_canary: bool,
    /// Only say what would happen.
    pub dry_run: bool,
}

impl Default for Upgrade {
    fn default() -> Self {
        Self { max_unavailable: Limit::Nodes(1), canary: None, pause_after_canary: false, dry_run: false }
    }
}

/// A number of nodes, absolute or of all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Limit {
    /// So many, at least one.
    Nodes(usize),
    /// So many of a hundred, rounded down, but at least one.
    Percent(u8),
}

impl Limit {
    /// How many of `all` that is.
    pub fn of(self, all: usize) -> usize {
        match self {
            Self::Nodes(nodes) => nodes.max(1),
            Self::Percent(percent) => (all * usize::from(percent) / 100).max(1),
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nodes(nodes) => write!(f, "{nodes}"),
            Self::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

/// A text that is no limit or no canary.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OrderTextError {
    /// Neither a number nor a percentage.
    #[error("`{0}` is no number of nodes: write a number from 1 up, or a percentage from 1% to 100%")]
    Limit(String),
    /// No attribute.
    #[error("`{0}` is no attribute of nodes: write NAME=VALUE")]
    Attribute(String),
}

impl FromStr for Limit {
    type Err = OrderTextError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || OrderTextError::Limit(text.to_owned());
        if let Some(percent) = text.trim().strip_suffix('%') {
            let percent: u8 = percent.trim().parse().map_err(|_| wrong())?;
            return if (1..=100).contains(&percent) { Ok(Self::Percent(percent)) } else { Err(wrong()) };
        }
        let nodes: usize = text.trim().parse().map_err(|_| wrong())?;
        if nodes > 0 { Ok(Self::Nodes(nodes)) } else { Err(wrong()) }
    }
}

/// Which nodes go first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Canary {
    /// Those with this attribute; `hostname` is one, and so are `region` and `zone`.
    Attribute(String, String),
    /// So many of those that would be replaced.
    Count(usize),
}

impl FromStr for Canary {
    type Err = OrderTextError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once('=') {
            Some((name, value)) if !name.trim().is_empty() => {
                Ok(Self::Attribute(name.trim().to_owned(), value.trim().to_owned()))
            }
            _ => Err(OrderTextError::Attribute(text.to_owned())),
        }
    }
}

impl fmt::Display for Canary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Attribute(name, value) => write!(f, "{name}={value}"),
            Self::Count(1) => write!(f, "1 node"),
            Self::Count(nodes) => write!(f, "{nodes} nodes"),
        }
    }
}

/// What became of an order that was carried out and, where it has to outlive the scheduler, persisted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OrderDone {
    /// It is as these words say.
    Done(String),
    /// This would happen; nothing was changed.
    Planned(Plan),
}

/// What an upgrade would do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Plan {
    /// The generation that executors would be of.
    pub to: String,
    /// How many batches there are; those of canaries come first.
    pub batches: usize,
    /// Every node, in the order in which they would be replaced.
    pub nodes: Vec<PlannedNode>,
}

/// What an upgrade would do with a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PlannedNode {
    /// The Mesos agent id.
    pub agent_id: String,
    /// Its host name.
    pub host: String,
    /// The generation of its executor, if that is known.
    pub generation: Option<String>,
    /// What would happen.
    pub action: Action,
    /// In which batch, counted from 1.
    pub batch: Option<usize>,
    /// Which way, if its executor is replaced.
    pub way: Option<Way>,
    /// Why.
    pub reason: String,
}

/// Which way an executor is replaced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// The new one comes up beside the old one, if an offer has room for both, and takes over.
    Overlap,
    /// The old one ends first, and why.
    EndFirst(String),
}

/// What happens with a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Its executor ends and a new one is launched.
    Replace,
    /// Its executor is new already.
    Keep,
    /// It is left out for now, and done when it can be.
    Skip,
}

/// Why an order was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OrderRefused {
    /// It makes no sense as things are, and why (409). Nothing was changed.
    #[error("{0}")]
    NotNow(String),
    /// There is nobody who could carry it out (503). Nothing was changed; try again.
    #[error("the order was not taken, and nothing was changed: {0}")]
    NotTaken(String),
    /// It could not be persisted (503). The store has taken in since that it was not ordered.
    #[error(
        "the order could not be stored, and is not carried out: {0}; what the store may have held of it was taken back"
    )]
    NotStored(String),
}

/// An order and where its answer goes.
#[derive(Debug)]
pub struct OrderRequest {
    /// What is asked.
    pub order: Order,
    /// Where the answer goes.
    pub reply: oneshot::Sender<Result<OrderDone, OrderRefused>>,
}

impl OrderRequest {
    /// Answers that it cannot be carried out now.
    pub fn refuse(self, why: &str) {
        if self.reply.send(Err(OrderRefused::NotTaken(why.to_owned()))).is_err() {
            tracing::debug!("nobody waits for the answer to an order any more");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_a_number_or_a_percentage_and_never_less_than_one_node() {
        assert_eq!("3".parse(), Ok(Limit::Nodes(3)));
        assert_eq!("10%".parse(), Ok(Limit::Percent(10)));
        for wrong in ["", "0", "0%", "101%", "-1", "many", "%"] {
            assert!(wrong.parse::<Limit>().is_err(), "{wrong}");
        }
        assert_eq!((Limit::Percent(10).of(39), Limit::Percent(10).of(3), Limit::Nodes(2).of(1)), (3, 1, 2));
    }

    #[test]
    fn a_canary_is_named_by_an_attribute() {
        assert_eq!("rack=r1".parse(), Ok(Canary::Attribute("rack".into(), "r1".into())));
        assert!("rack".parse::<Canary>().is_err() && "=r1".parse::<Canary>().is_err());
    }
}
