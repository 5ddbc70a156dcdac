//! Sends counts of events to StatsD.
use futures_util::future::BoxFuture;

use crate::dead_letter::DeadLetters;
use crate::event::Event;
use crate::lang::kinds::Hash;
use crate::link::{Link, Server, Way};
use crate::plugins::OutputOptions;
use crate::runtime::load::{Failure, Load, Output};
use crate::spec::{plugin, words};
use crate::template::Template;
use crate::topology::OutputSite;

/// The most bytes of one datagram: what any network carries in one piece.
const DATAGRAM_MAX: usize = 1400;

plugin! {
    /// Sends counts, times and values of events to StatsD. Names and values may be templates.
    ///
    /// ```
    /// output {
    ///   statsd { host => "statsd.example.com" increment => ["http.%{status}"] timing => { "http.time" => "%{took}" } }
    /// }
    /// ```
    ///
    /// A metric is named `NAMESPACE.SENDER.NAME`; dots in the sender become `_`. Nobody tells whether datagrams arrive.
    output "statsd" => pub(crate) struct StatsdOptions {
        /// The server.
        host: String = "localhost",
        /// Its port.
        port: u16 = 8125,
        /// How to reach it.
        protocol: Protocol = "udp",
        /// What names begin with.
        namespace: Template = "logstash",
        /// What comes next.
        sender: Template = "%{host}",
        /// Metrics that grow by one.
        increment: Vec<Template> = [],
        /// Metrics that shrink by one.
        decrement: Vec<Template> = [],
        /// Metrics, and by how much they grow.
        count: Hash<Template> = {},
        /// Metrics, and times in milliseconds.
        timing: Hash<Template> = {},
        /// Metrics, and values of which different ones are counted.
        set: Hash<Template> = {},
        /// Metrics, and the values that they have now.
        gauge: Hash<Template> = {},
        /// Which part of the events is told, at random, from 0 to 1.
        sample_rate: f64 = 1,
    }
}

words! {
    /// How to reach a StatsD.
    pub(crate) enum Protocol {
        /// Datagrams.
        Udp = "udp",
        /// A stream.
        Tcp = "tcp",
    }
}

impl OutputOptions for StatsdOptions {
    fn build(&self, site: OutputSite) -> Result<Box<dyn Output>, String> {
        let way = match self.protocol {
            Protocol::Udp => Way::Udp,
            Protocol::Tcp => Way::Tcp,
        };
        let named = |hash: &Hash<Template>, kind: &'static str| {
            let pairs = hash.0.iter().map(|(name, value)| (Template::parse(name), value.clone(), kind));
            pairs.collect::<Vec<_>>()
        };
        let step = |names: &[Template], by: &str| {
            names.iter().map(|name| (name.clone(), Template::parse(by), "c")).collect::<Vec<_>>()
        };
        let metrics = [
            step(&self.increment, "1"),
            step(&self.decrement, "-1"),
            named(&self.count, "c"),
            named(&self.timing, "ms"),
            named(&self.set, "s"),
            named(&self.gauge, "g"),
        ];
        let server = Server { host: self.host.clone(), port: self.port, way };
        Ok(Box::new(Statsd {
            link: Link::to(server),
            dead_letters: site.dead_letters,
            lines: MetricLines { metrics: metrics.concat(), options: self.clone() },
        }))
    }
}

struct Statsd {
    link: Link,
    /// Where datagrams are counted that could not be sent.
    dead_letters: DeadLetters,
    lines: MetricLines,
}

/// What is written of events.
struct MetricLines {
    /// Name, value and kind of each metric.
    metrics: Vec<(Template, Template, &'static str)>,
    options: StatsdOptions,
}

impl Output for Statsd {
    fn deliver<'a>(&'a mut self, load: &'a Load) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(async move {
            let mut pieces: Vec<Vec<u8>> = Vec::new();
            for line in load.iter().flat_map(|event| self.lines.of(event, rand::random)) {
                match pieces.last_mut().filter(|piece| piece.len() + line.len() <= DATAGRAM_MAX) {
                    Some(piece) => piece.extend_from_slice(line.as_bytes()),
                    None => pieces.push(line.into_bytes()),
                }
            }
            // A datagram holds many metrics; it counts once.
            let lost = self.link.send(&pieces).await.map_err(Failure::whole)?;
            self.dead_letters.count_dropped(lost);
            Ok(())
        })
    }
}

impl MetricLines {
    /// The lines of an event; `chance` is between 0 and 1.
    fn of(&self, event: &Event, mut chance: impl FnMut() -> f64) -> Vec<String> {
        let rate = self.options.sample_rate;
        let sender = clean(&self.options.sender.render(event)).replace('.', "_");
        let namespace = self.options.namespace.render(event);
        let prefix = if namespace.is_empty() { sender } else { format!("{namespace}.{sender}") };
        let mut lines = Vec::new();
        for (name, value, kind) in &self.metrics {
            if rate < 1.0 && chance() >= rate {
                continue;
            }
            let (name, value) = (clean(&name.render(event)), value.render(event));
            let rate = if rate < 1.0 { format!("|@{rate}") } else { String::new() };
            lines.push(format!("{prefix}.{name}:{value}|{kind}{rate}\n"));
        }
        lines
    }
}

/// A part of a name without what has a meaning in the protocol.
fn clean(name: &str) -> String {
    name.replace("::", ".").replace([':', '|', '@'], "_")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::Timestamp;

    fn lines(options: &str, chance: f64) -> Vec<String> {
        let text = format!("output {{ statsd {{ {options} }} }}");
        let plan = crate::check::compile(crate::check::Scope::Run, &text, &|_| None).unwrap();
        let crate::plan::Step::Plugin(call) = &plan.outputs[0] else { panic!("{text}") };
        let options = call.options.downcast_ref::<StatsdOptions>().unwrap();
        let named = |hash: &Hash<Template>, kind| {
            hash.0.iter().map(|(n, v)| (Template::parse(n), v.clone(), kind)).collect::<Vec<_>>()
        };
        let steps = options.increment.iter().map(|n| (n.clone(), Template::parse("1"), "c")).collect();
        let metrics = [steps, named(&options.timing, "ms"), named(&options.gauge, "g")].concat();
        let lines = MetricLines { metrics, options: options.clone() };
        let mut event = Event::new(Timestamp::UNIX_EPOCH);
        for (name, value) in [("host", "web.1"), ("ms", "12")] {
            event.fields_mut().insert(name, value.into());
        }
        lines.of(&event, || chance)
    }

    #[test]
    fn names_are_built_of_namespace_sender_and_metric() {
        let got =
            lines("increment => [\"a:b\"] timing => { \"t\" => \"%{ms}\" } gauge => { \"x::y\" => 5 }", 0.0);
        assert_eq!(got, ["logstash.web_1.a_b:1|c\n", "logstash.web_1.t:12|ms\n", "logstash.web_1.x.y:5|g\n"]);
    }

    #[test]
    fn a_part_of_the_events_is_told_with_the_rate() {
        let options = "namespace => \"\" increment => [\"n\"] sample_rate => 0.5";
        assert_eq!(lines(options, 0.4), ["web_1.n:1|c|@0.5\n"]);
        assert_eq!(lines(options, 0.6), [""; 0]);
    }
}
