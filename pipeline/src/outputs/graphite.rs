//! Sends numbers of events to Graphite.
use std::time::Duration;

use futures_util::future::BoxFuture;

use crate::event::Event;
use crate::field::FieldRef;
use crate::floats::push_ruby;
use crate::lang::kinds::{Hash, Placed};
use crate::lang::problems::Problems;
use crate::link::{Link, Server, Way};
use crate::plugins::OutputOptions;
use crate::ruby::{self, Dot, Groups, Ruby, to_f};
use crate::runtime::load::{Failure, Load, Output};
use crate::spec::plugin;
use crate::template::Template;
use crate::topology::OutputSite;
use crate::value::{Map, Text, Value};

/// How long one expression may search in one name.
const PATIENCE: Duration = Duration::from_secs(1);

plugin! {
    /// Sends numbers of events to Graphite, as lines of Carbon's plaintext protocol.
    ///
    /// ```
    /// output { graphite { host => "graphite.example.com" metrics => { "http.%{verb}.time" => "%{took}" } } }
    /// ```
    ///
    /// TCP acknowledges nothing: numbers that are on their way when the server goes down can be lost. While it is down the inputs
    /// wait.
    output "graphite" => pub(crate) struct GraphiteOptions {
        /// The server.
        host: String = "localhost",
        /// Its port.
        port: u16 = 2003,
        /// Names of metrics, and their values. Both may be templates. A name that is a field that holds others stands for all of them.
        metrics: Hash<Template> = {},
        /// Send the fields of the event, in place of `metrics`.
        fields_are_metrics: bool = false,
        /// Regular expressions of which one must match the name.
        include_metrics: Vec<Placed<String>> = [".*"],
        /// Regular expressions of which none may match the name.
        exclude_metrics: Vec<Placed<String>> = ["%[{][^}]+[}]"],
        /// The field that has the moment of the numbers.
        timestamp_field: FieldRef = "@timestamp",
        /// How a name is written: `*` stands for it, and `%{field}` is filled in.
        metrics_format: Template = "*",
        /// What joins the names of fields in fields.
        nested_object_separator: String = ".",
    }
    accepted {
        "reconnect_interval" => "pauses between attempts grow from 50 milliseconds to 10 seconds",
        "resend_on_failure" => "what could not be sent is always sent again",
    }
    validate = check
}

fn check(options: &GraphiteOptions, problems: &mut Problems) {
    for pattern in options.include_metrics.iter().chain(&options.exclude_metrics) {
        if let Err(mistake) = Ruby::compile(pattern, Dot::NotNewline) {
            mistake.report(pattern, problems);
        }
    }
}

impl OutputOptions for GraphiteOptions {
    fn build(&self, _site: OutputSite) -> Result<Box<dyn Output>, String> {
        let server = Server { host: self.host.clone(), port: self.port, way: Way::Tcp };
        Ok(Box::new(Graphite { link: Link::to(server), metrics: Metrics::new(self.selection())? }))
    }
}

impl GraphiteOptions {
    fn selection(&self) -> Selection {
        Selection {
            metrics: self.metrics.clone(),
            fields_are_metrics: self.fields_are_metrics,
            include: self.include_metrics.clone(),
            exclude: self.exclude_metrics.clone(),
            moment: self.timestamp_field.clone(),
            format: self.metrics_format.clone(),
            separator: Some(self.nested_object_separator.clone()),
        }
    }
}

/// Which numbers of an event are metrics, and how they are named.
pub(crate) struct Selection {
    pub(crate) metrics: Hash<Template>,
    pub(crate) fields_are_metrics: bool,
    pub(crate) include: Vec<Placed<String>>,
    pub(crate) exclude: Vec<Placed<String>>,
    /// The field that has their moment.
    pub(crate) moment: FieldRef,
    pub(crate) format: Template,
    /// What joins the names of fields in fields; `None`: a map is no metric, and so 0.
    pub(crate) separator: Option<String>,
}

impl Default for Selection {
    fn default() -> Self {
        Self {
            metrics: Hash(Vec::new()),
            fields_are_metrics: false,
            include: Vec::new(),
            exclude: Vec::new(),
            moment: FieldRef::top("@timestamp"),
            format: Template::literal("*"),
            separator: None,
        }
    }
}

struct Graphite {
    link: Link,
    metrics: Metrics,
}

impl Output for Graphite {
    fn deliver<'a>(&'a mut self, load: &'a Load) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(async move {
            let lines = self.metrics.lines_of(load);
            if lines.is_empty() {
                return Ok(());
            }
            self.link.send(&[lines.into_bytes()]).await.map(drop).map_err(Failure::whole)
        })
    }
}

/// Finds the metrics of events.
pub(crate) struct Metrics {
    include: Vec<Ruby>,
    exclude: Vec<Ruby>,
    names: Vec<(Template, Template)>,
    options: Selection,
}

impl Metrics {
    pub(crate) fn new(options: Selection) -> Result<Self, String> {
        let compile = |patterns: &[Placed<String>]| {
            let ruby = |pattern: &Placed<String>| Ruby::compile(pattern, Dot::NotNewline);
            patterns.iter().map(ruby).collect::<Result<Vec<_>, _>>().map_err(|mistake| mistake.to_string())
        };
        let name = |(name, value): &(String, Template)| (Template::parse(name), value.clone());
        let names = options.metrics.0.iter().map(name).collect();
        Ok(Self { include: compile(&options.include)?, exclude: compile(&options.exclude)?, names, options })
    }

    fn lines_of(&self, load: &Load) -> String {
        let mut lines = String::new();
        let mut groups = Groups::new();
        load.iter().for_each(|event| self.write(event, &mut groups, &mut lines));
        lines
    }

    /// Adds a line for each number of an event.
    pub(crate) fn write(&self, event: &Event, groups: &mut Groups, out: &mut String) {
        let moment = match event.get(&self.options.moment) {
            Some(Value::Time(at)) => at.as_second().to_string(),
            #[allow(clippy::cast_possible_truncation, reason = "seconds since 1970 are small")]
            Some(value) => (to_f(&value.to_text()) as i64).to_string(),
            None => "0".to_owned(),
        };
        let format = self.options.format.render(event);
        let format = if format.contains('*') { format } else { Text::from("*") };
        let mut line = |name: &str, value: &str| {
            out.push_str(&format.replace('*', name));
            for word in [" ", value, " ", &moment, "\n"] {
                out.push_str(word);
            }
        };
        if self.options.fields_are_metrics {
            for (name, value) in event.fields().iter().filter(|(name, _)| *name != "@version") {
                if self.takes(name, groups, self.include.is_empty()) {
                    self.lines(name, value, &number(&ruby::to_s(value)), &mut line);
                }
            }
            return;
        }
        for (name, value) in &self.names {
            let name = name.render(event);
            if self.takes(&name, groups, false) {
                let held = FieldRef::parse(&name).ok().and_then(|field| event.get(&field));
                self.lines(&name, held.unwrap_or(&Value::Null), &number(&value.render(event)), &mut line);
            }
        }
    }

    fn takes(&self, name: &str, groups: &mut Groups, all: bool) -> bool {
        let mut matches = |ruby: &Ruby| ruby.search(name, 0, PATIENCE, groups).unwrap_or(false);
        (all || self.include.iter().any(&mut matches)) && !self.exclude.iter().any(matches)
    }

    /// One line, or one for each field of a map.
    fn lines(&self, name: &str, held: &Value, value: &str, line: &mut impl FnMut(&str, &str)) {
        match (held, &self.options.separator) {
            (Value::Map(map), Some(separator)) => Self::nested(name, separator, map, line),
            _ => line(name, value),
        }
    }

    fn nested(prefix: &str, separator: &str, map: &Map, line: &mut impl FnMut(&str, &str)) {
        for (name, value) in map.iter() {
            let name = format!("{prefix}{separator}{name}");
            match value {
                Value::Map(inner) => Self::nested(&name, separator, inner, line),
                Value::List(_) => tracing::debug!(name, "Graphite takes no lists"),
                value => line(&name, &value.to_text()),
            }
        }
    }
}

/// A number as it is sent; 0.0 for what is none.
fn number(text: &str) -> String {
    let mut number = String::new();
    push_ruby(to_f(text), &mut number);
    number
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json;

    fn lines(options: &str, event: &str) -> Vec<String> {
        let text = format!("output {{ graphite {{ {options} }} }}");
        let plan = crate::check::compile(crate::check::Scope::Run, &text, &|_| None).unwrap();
        let crate::plan::Step::Plugin(call) = &plan.outputs[0] else { panic!("{text}") };
        let options = call.options.downcast_ref::<GraphiteOptions>().unwrap();
        let Value::Map(fields) = json::parse(&Text::from(event)).unwrap() else { panic!("{event}") };
        let metrics = Metrics::new(options.selection()).unwrap();
        let at = "1970-01-01T00:01:40Z".parse().unwrap();
        let mut out = String::new();
        metrics.write(&Event::from_map(at, fields), &mut Groups::new(), &mut out);
        out.lines().map(str::to_owned).collect()
    }

    #[test]
    fn metrics_are_filled_in() {
        let got =
            lines("metrics => { \"hurray.%{foo}\" => \"%{bar}\" }", "{\"foo\": \"fancy\", \"bar\": 42}");
        assert_eq!(got, ["hurray.fancy 42.0 100"]);
    }

    #[test]
    fn fields_in_fields_are_joined_and_formatted() {
        let options =
            "fields_are_metrics => true exclude_metrics => [\"^no\"] metrics_format => \"%{host}.*.sum\"";
        let got =
            lines(options, "{\"host\": \"web\", \"a\": {\"b\": 1, \"c\": {\"d\": 2.5}}, \"nothing\": 3}");
        assert_eq!(got, ["web.host.sum 0.0 100", "web.a.b.sum 1 100", "web.a.c.d.sum 2.5 100"]);
    }

    #[test]
    fn names_that_were_not_filled_in_are_left_out() {
        assert_eq!(lines("metrics => { \"%{foo}\" => 1 }", "{}"), [""; 0]);
    }
}
