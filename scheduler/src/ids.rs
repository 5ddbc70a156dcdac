//! Holds the ids that Mesos knows things by, and the moments at which decisions are made.
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

macro_rules! id {
    ($(#[$doc:meta] $name:ident),* $(,)?) => {$(
        #[$doc]
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub String);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.to_owned())
            }
        }
    )*};
}

id! {
    /// This framework, as the master registered it.
    FrameworkId,
    /// A Mesos agent. A machine that was wiped or marked gone comes back under another one.
    AgentId,
    /// An executor: a fresh one for each launch.
    ExecutorId,
    /// A task: a fresh one for each launch.
    TaskId,
    /// An offer; valid until it is answered, rescinded or the subscription ends.
    OfferId,
}

/// A moment in milliseconds since the Unix epoch that never goes back while this process lives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Moment(pub u64);

impl Moment {
    /// The moment `pause` later.
    #[must_use]
    pub fn after(self, pause: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(pause.as_millis()).unwrap_or(u64::MAX)))
    }

    /// How long ago `earlier` was; zero when it lies ahead.
    pub fn since(self, earlier: Moment) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}
