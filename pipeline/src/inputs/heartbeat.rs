//! Makes an event every now and then.
use std::time::Duration;

use futures_util::future::BoxFuture;

use crate::ecs::Ecs;
use crate::event::Event;
use crate::field::FieldRef;
use crate::plugins::InputOptions;
use crate::runtime::source::{Input, InputError, Intake};
use crate::spec::{plugin, words};
use crate::value::{Timestamp, Value};

plugin! {
    /// Makes an event every now and then, to see that the way to the outputs is open.
    ///
    /// ```
    /// input { heartbeat { interval => 10 message => "alive" type => "heartbeat" } }
    /// ```
    ///
    /// Each event has the fields `message` and `host`, and `clock` if there is a `sequence`.
    input "heartbeat" => pub(crate) struct HeartbeatOptions {
        /// The message. `epoch` and `sequence` stand for that `sequence` without a message, as in older configurations.
        message: String = "ok",
        /// How long it is from one event to the next.
        interval: Duration = 60,
        /// How many events to make; -1 is without end.
        count: i64 = -1,
        /// What the field `clock` holds.
        sequence: Option<Sequence>,
        /// With `v1` or `v8` the fields are `[event][sequence]` and `[host][name]` in place of `clock` and `host`.
        ecs_compatibility: Ecs = "disabled",
    }
    accepted {
        "threads" => "one thread makes all events",
    }
}

words! {
    /// What counts heartbeats.
    pub(crate) enum Sequence {
        /// Nothing.
        None = "none",
        /// Seconds since 1970.
        Epoch = "epoch",
        /// A number from 1.
        Number = "sequence",
    }
}

impl InputOptions for HeartbeatOptions {
    fn build(&self) -> Result<Box<dyn Input>, String> {
        let by_message = match self.message.as_str() {
            "epoch" => Some(Sequence::Epoch),
            "sequence" => Some(Sequence::Number),
            _ => None,
        };
        let old = self.ecs_compatibility.choose(by_message, None).filter(|_| self.sequence.is_none());
        Ok(Box::new(Heartbeat {
            message: old.is_none().then(|| self.message.clone()),
            sequence: old.or(self.sequence).unwrap_or(Sequence::None),
            interval: self.interval,
            count: u64::try_from(self.count).ok(),
            ecs: self.ecs_compatibility,
        }))
    }
}

struct Heartbeat {
    message: Option<String>,
    sequence: Sequence,
    interval: Duration,
    /// `None`: without end.
    count: Option<u64>,
    ecs: Ecs,
}

impl Heartbeat {
    fn event(&self, nth: u64, now: Timestamp) -> Event {
        let clock = match self.sequence {
            Sequence::None => None,
            Sequence::Epoch => Some(now.as_second()),
            Sequence::Number => Some(i64::try_from(nth).unwrap_or(i64::MAX)),
        };
        let mut event = Event::new(now);
        if let Some(clock) = clock {
            let field = self.ecs.choose(FieldRef::top("clock"), FieldRef::from_names(&["event", "sequence"]));
            // There is nothing in its way.
            let _set = event.set(&field, Value::Int(clock));
        }
        if let Some(message) = &self.message {
            event.fields_mut().insert("message", Value::from(message.as_str()));
        }
        event
    }
}

impl Input for Heartbeat {
    fn run(self: Box<Self>, intake: Intake) -> BoxFuture<'static, Result<(), InputError>> {
        Box::pin(async move {
            let host = self.ecs.choose(FieldRef::top("host"), FieldRef::from_names(&["host", "name"]));
            let source = intake.fleeting(vec![(host, Value::Str(intake.host.clone()))]);
            // An interval of nothing is not one; this is as fast as it gets.
            let mut tick = tokio::time::interval(self.interval.max(Duration::from_millis(1)));
            tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            let mut nth = 0;
            loop {
                tokio::select! {
                    _ = tick.tick() => {}
                    () = intake.stop.cancelled() => return Ok(()),
                }
                nth += 1;
                let event = self.event(nth, Timestamp::now());
                let sent = intake.send_events(&source, vec![event], 0, nth).await;
                // Logstash, too, looks for the end after the first event.
                if sent.is_err() || self.count == Some(nth) {
                    return Ok(());
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::trial::inputs::Trial;

    #[tokio::test]
    async fn as_many_events_are_made_as_are_wanted() {
        let events = Trial::to_end("heartbeat { interval => 0.001 count => 3 sequence => sequence }").await;
        let clocks: Vec<_> = events.iter().map(|e| (e["clock"].clone(), e["message"].clone())).collect();
        assert_eq!(clocks, [1, 2, 3].map(|n| (n.into(), "ok".into())));
        assert_eq!(events[0]["host"], "host-1");
    }

    #[tokio::test]
    async fn the_message_may_ask_for_a_clock_as_it_did_of_old() {
        let events = Trial::to_end("heartbeat { count => 1 message => epoch }").await;
        assert!(events[0]["clock"].as_i64().is_some_and(|seconds| seconds > 1_700_000_000));
        assert_eq!(events[0].get("message"), None);
        let ecs = "heartbeat { count => 1 message => epoch sequence => none ecs_compatibility => v8 }";
        let events = Trial::to_end(ecs).await;
        assert_eq!((&events[0]["message"], &events[0]["host"]["name"]), (&"epoch".into(), &"host-1".into()));
    }
}
