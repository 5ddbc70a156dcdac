//! Sends events to InfluxDB as points, in its line protocol.
use crate::bulk::cluster::basic;
use crate::client::{Setup, Verify, chain, client};
use crate::dead_letter::DeadLetters;
use crate::event::Event;
use crate::lang::kinds::{Hash, Password, Placed};
use crate::lang::problems::Problems;
use crate::plugins::OutputOptions;
use crate::runtime::load::{Failure, Load, Output};
use crate::spec::{plugin, words};
use crate::template::Template;
use crate::topology::OutputSite;
use crate::value::{Timestamp, Value};
use futures_util::future::BoxFuture;
use reqwest::header::{AUTHORIZATION, HeaderMap};
use reqwest::{Client, Url};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

plugin! {
    /// Sends events to InfluxDB (its API of version 1) as points: a measurement, tags, values and a time.
    ///
    /// ```
    /// output {
    ///   influxdb {
    ///     host => "influx-1"
    ///     db => "metrics"
    ///     measurement => "requests"
    ///     data_points => { "bytes" => "%{bytes}" "verb" => "%{verb}" }
    ///     coerce_values => { "bytes" => "integer" }
    ///     send_as_tags => ["verb"]
    ///   }
    /// }
    /// ```
    ///
    /// Points that wait are written together. When the server refuses some of them (400), they are found by halves and become
    /// dead letters; everything else is sent again until it is taken. An event without values becomes a dead letter.
    output "influxdb" => pub(crate) struct InfluxdbOptions {
        /// The server.
        host: Placed<String>,
        /// Its port.
        port: u16 = 8086,
        /// The database; a template.
        db: Template = "statistics",
        /// The retention policy.
        retention_policy: String = "autogen",
        /// The measurement; a template.
        measurement: Template = "logstash",
        /// The values of a point by name; names and values are templates.
        data_points: Hash<Template> = {},
        /// Whether the fields of an event are its values, instead of `data_points`.
        use_event_fields_for_data_points: bool = false,
        /// Values that are left out.
        exclude_fields: Vec<String> = ["@timestamp", "@version", "sequence", "message", "type"],
        /// Values that are sent as tags.
        send_as_tags: Vec<String> = ["host"],
        /// The types of values: `integer`, `float` or `string`.
        coerce_values: Hash<ValueType> = {},
        /// Whether the value `time` is the time of the point, in `time_precision`, instead of `@timestamp`.
        allow_time_override: bool = false,
        /// The precision of times.
        time_precision: Precision = "ms",
        /// The name of the user.
        user: Option<Placed<String>>,
        /// The password of the user.
        password: Option<Placed<Password>>,
        /// Speak TLS.
        ssl: bool = false,
        /// Files with the certificates (PEM) of the authorities to trust, instead of those of the system.
        ssl_certificate_authorities: Vec<String> = [],
        /// How long to wait for an answer.
        timeout: Duration = 30,
    }
    accepted {
        "flush_size" => "points that wait are written together",
        "idle_flush_time" => "points are written at once",
        "initial_delay" => "pauses between attempts grow from 50 milliseconds to 10 seconds",
        "max_retries" => "points are sent until they are taken",
    }
    validate = check
}

words! {
    /// The type of a value.
    pub(crate) enum ValueType {
        /// A whole number.
        Integer = "integer",
        /// A number.
        Float = "float",
        /// A text.
        Text = "string",
    }
}

words! {
    /// The precision of times.
    pub(crate) enum Precision {
        /// Nanoseconds.
        Nano = "n",
        /// Microseconds.
        Micro = "u",
        /// Milliseconds.
        Milli = "ms",
        /// Seconds.
        Second = "s",
        /// Minutes.
        Minute = "m",
        /// Hours.
        Hour = "h",
    }
}

fn check(options: &InfluxdbOptions, problems: &mut Problems) {
    if url(options).is_err() {
        problems.error(options.host.span, "this is not a host").hint("write it like \"influx.example\"");
    }
    if options.data_points.0.is_empty() && !options.use_event_fields_for_data_points {
        problems
            .error(options.host.span, "no values would be sent")
            .hint("add `data_points => { \"value\" => \"%{value}\" }`, or `use_event_fields_for_data_points => true`");
    }
    match (&options.user, &options.password) {
        (Some(user), None) => {
            problems
                .error(user.span, "the `user` has no `password`")
                .hint("add `password => \"${INFLUXDB_PASSWORD}\"`");
        }
        (None, Some(password)) => {
            problems.error(password.span, "the `password` is nobody's").hint("add `user => …`");
        }
        _ => {}
    }
}

fn url(options: &InfluxdbOptions) -> Result<Url, String> {
    let (scheme, host) = (if options.ssl { "https" } else { "http" }, options.host.value.as_str());
    let host =
        if host.contains(':') && !host.starts_with('[') { format!("[{host}]") } else { host.to_owned() };
    let url = Url::parse(&format!("{scheme}://{host}:{}/write", options.port)).map_err(|e| e.to_string())?;
    let plain = url.username().is_empty() && url.path() == "/write" && url.query().is_none();
    if plain { Ok(url) } else { Err("it is more than a host".to_owned()) }
}

impl OutputOptions for InfluxdbOptions {
    fn build(&self, site: OutputSite) -> Result<Box<dyn Output>, String> {
        let mut headers = HeaderMap::new();
        if let (Some(user), Some(password)) = (&self.user, &self.password) {
            headers.insert(AUTHORIZATION, basic(user, password.reveal())?);
        }
        let client = client(&Setup {
            headers,
            timeout: self.timeout,
            verify: Verify::AuthorityAndName,
            authorities: self.ssl_certificate_authorities.iter().map(PathBuf::from).collect(),
            tls: self.ssl,
            ..Setup::default()
        })?;
        let dead_letters = site.dead_letters;
        Ok(Box::new(Influxdb { id: site.id, client, url: url(self)?, options: self.clone(), dead_letters }))
    }
}

struct Influxdb {
    id: String,
    client: Arc<Client>,
    url: Url,
    options: InfluxdbOptions,
    dead_letters: DeadLetters,
}

/// The points of one database, with the numbers of their events.
struct Points {
    db: String,
    lines: Vec<(usize, String)>,
}

/// What became of a request.
enum Answer {
    Taken,
    Refused(String),
    Later(String),
}

impl Output for Influxdb {
    fn deliver<'a>(&'a mut self, load: &'a Load) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(async move {
            let mut databases: Vec<Points> = Vec::new();
            let mut refused: Vec<(usize, String)> = Vec::new();
            for (nth, event) in load.iter().enumerate() {
                match self.line(event) {
                    None => refused.push((nth, "the event has no values for a point".to_owned())),
                    Some(line) => {
                        let db = self.options.db.render(event);
                        match databases.iter_mut().find(|points| points.db == db.as_str()) {
                            Some(points) => points.lines.push((nth, line)),
                            None => {
                                let lines = vec![(nth, line)];
                                databases.push(Points { db: db.as_str().to_owned(), lines });
                            }
                        }
                    }
                }
            }
            let mut left: Vec<usize> = Vec::new();
            let mut reason = None;
            for points in &databases {
                // Halves that are still to be written, the first one last.
                let mut parts: Vec<&[(usize, String)]> = vec![&points.lines];
                while let Some(part) = parts.pop() {
                    match self.ask(&points.db, part).await {
                        Answer::Taken => {}
                        Answer::Refused(why) => match part {
                            [(nth, _)] => refused.push((*nth, why)),
                            several => {
                                let (first, second) = several.split_at(several.len() / 2);
                                parts.extend([second, first]);
                            }
                        },
                        Answer::Later(why) => {
                            left.extend(part.iter().map(|(nth, _)| *nth));
                            reason = Some(why);
                        }
                    }
                }
            }
            refused.sort_unstable_by_key(|(nth, _)| *nth);
            if let Err(error) = self.keep_dead(load, &refused) {
                left.extend(refused.iter().map(|(nth, _)| *nth));
                reason = Some(format!("keep dead letters: {error}"));
            }
            match reason {
                None => Ok(()),
                Some(why) => Err(Failure::partly(why, load.keep(|nth| left.contains(&nth)))),
            }
        })
    }
}

impl Influxdb {
    async fn ask(&self, db: &str, points: &[(usize, String)]) -> Answer {
        let mut url = self.url.clone();
        url.query_pairs_mut()
            .append_pair("db", db)
            .append_pair("rp", &self.options.retention_policy)
            .append_pair("precision", self.options.time_precision.name());
        let body: String = points.iter().flat_map(|(_, line)| [line.as_str(), "\n"]).collect();
        let answer = match self.client.post(url).body(body).send().await {
            Err(error) => return Answer::Later(chain(&error.without_url())),
            Ok(answer) => answer,
        };
        let status = answer.status().as_u16();
        let text = answer.text().await.unwrap_or_default();
        let said = serde_json::from_str::<serde_json::Value>(&text).ok();
        let said = said.as_ref().and_then(|said| said.get("error")?.as_str()).unwrap_or("no reason given");
        match status {
            200..=299 => Answer::Taken,
            400 | 413 | 422 => Answer::Refused(format!("{said} ({status})")),
            _ => Answer::Later(format!("the server answered {status}: {said}")),
        }
    }

    fn keep_dead(&self, load: &Load, refused: &[(usize, String)]) -> std::io::Result<()> {
        let Some((_, first)) = refused.first() else { return Ok(()) };
        tracing::warn!(output = %self.id, count = refused.len(), reason = %first, "events were refused; they are dead letters");
        let mut reasons = refused.iter().peekable();
        let dead = load.iter().enumerate().filter_map(|(nth, event)| {
            let (_, reason) = reasons.next_if(|(at, _)| *at == nth)?;
            Some((event, reason.as_str()))
        });
        self.dead_letters.keep(Timestamp::now(), dead)
    }

    /// The point of an event; `None` when it has no values.
    fn line(&self, event: &Event) -> Option<String> {
        let options = &self.options;
        let mut values: Vec<(String, Value)> = if options.use_event_fields_for_data_points {
            event.fields().iter().map(|(name, value)| (name.to_string(), value.clone())).collect()
        } else {
            let filled = options.data_points.0.iter().map(|(name, value)| {
                (Template::parse(name).render(event).as_str().to_owned(), Value::Str(value.render(event)))
            });
            filled.collect()
        };
        values.retain(|(name, _)| !options.exclude_fields.contains(name));
        for (name, value) in &mut values {
            if let Some((_, kind)) = options.coerce_values.0.iter().find(|(of, _)| of == name) {
                *value = coerced(value, *kind);
            }
        }
        let given = values.iter().position(|(name, _)| name == "time").map(|at| values.remove(at).1);
        let time = match given.filter(|_| options.allow_time_override) {
            Some(time) => time.to_text().trim().parse::<i64>().ok()?,
            None => options.time_precision.of(event.timestamp().unwrap_or_else(Timestamp::now)),
        };
        let mut tags: Vec<(String, Value)> = Vec::new();
        if let Some(at) =
            values.iter().position(|(name, value)| name == "tags" && matches!(value, Value::List(_)))
            && let (_, Value::List(words)) = values.remove(at)
        {
            tags.extend(words.iter().map(|word| (word.to_text().as_str().to_owned(), "true".into())));
        }
        for name in &options.send_as_tags {
            if let Some(at) = values.iter().position(|(of, _)| of == name) {
                tags.push(values.remove(at));
            }
        }
        let is_something = |(name, value): &(String, Value)| !name.is_empty() && !value.to_text().is_empty();
        tags.retain(is_something);
        values.retain(|pair| pair.1 != Value::Null && is_something(pair));
        if values.is_empty() {
            return None;
        }
        let mut line = escaped(&options.measurement.render(event), &[',', ' ']);
        for (name, value) in &tags {
            line.push(',');
            line.push_str(&escaped(name, &[',', '=', ' ']));
            line.push('=');
            line.push_str(&escaped(&value.to_text(), &[',', '=', ' ']));
        }
        for (nth, (name, value)) in values.iter().enumerate() {
            line.push(if nth == 0 { ' ' } else { ',' });
            line.push_str(&escaped(name, &[',', '=', ' ']));
            line.push('=');
            line.push_str(&written(value));
        }
        line.push(' ');
        line.push_str(&time.to_string());
        Some(line)
    }
}

/// A name or a tag: it can have no line ends, and some characters only behind a backslash.
fn escaped(text: &str, special: &[char]) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if special.contains(&c) {
            out.push('\\');
        }
        out.push(if c == '\n' || c == '\r' { ' ' } else { c });
    }
    // A backslash at the end would escape what follows.
    if out.ends_with('\\') {
        out.push(' ');
    }
    out
}

/// A value as the line protocol has it.
fn written(value: &Value) -> String {
    match value {
        Value::Int(number) => format!("{number}i"),
        Value::Float(number) if number.is_finite() => format!("{number:?}"),
        Value::Number(number) if number.to_f64().is_finite() => format!("{:?}", number.to_f64()),
        Value::Bool(yes) => yes.to_string(),
        other => {
            let text = other.to_text();
            format!("\"{}\"", text.as_str().replace('\\', "\\\\").replace('"', "\\\""))
        }
    }
}

/// A value of this type; what is no number is 0, as with Ruby's `to_i` and `to_f`.
fn coerced(value: &Value, kind: ValueType) -> Value {
    let text = value.to_text();
    let text = text.as_str().trim();
    let numeric = |more: &[char]| {
        let end = text.char_indices().find(|(at, c)| {
            !(c.is_ascii_digit() || more.contains(c) || *at == 0 && (*c == '-' || *c == '+'))
        });
        text.get(..end.map_or(text.len(), |(at, _)| at)).unwrap_or_default()
    };
    match (kind, value) {
        (ValueType::Integer, Value::Float(number)) => Value::Int(*number as i64),
        (ValueType::Integer, Value::Number(number)) => Value::Int(number.to_f64() as i64),
        (ValueType::Float, Value::Number(number)) => Value::Float(number.to_f64()),
        (ValueType::Integer, _) => Value::Int(numeric(&[]).parse().unwrap_or(0)),
        (ValueType::Float, _) => {
            let number = text.parse::<f64>().ok().filter(|number| number.is_finite());
            Value::Float(number.or_else(|| numeric(&['.']).parse().ok()).unwrap_or(0.0))
        }
        (ValueType::Text, _) => text.into(),
    }
}

impl Precision {
    fn name(self) -> &'static str {
        match self {
            Self::Nano => "n",
            Self::Micro => "u",
            Self::Milli => "ms",
            Self::Second => "s",
            Self::Minute => "m",
            Self::Hour => "h",
        }
    }

    fn of(self, time: Timestamp) -> i64 {
        match self {
            Self::Nano => i64::try_from(time.as_nanosecond()).unwrap_or(i64::MAX),
            Self::Micro => time.as_microsecond(),
            Self::Milli => time.as_millisecond(),
            Self::Second => time.as_second(),
            Self::Minute => time.as_second().div_euclid(60),
            Self::Hour => time.as_second().div_euclid(3600),
        }
    }
}

#[cfg(test)]
mod tests;
