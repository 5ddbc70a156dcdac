//! Sends events to a server over HTTP.
use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use flate2::Compression;
use flate2::write::GzEncoder;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use reqwest::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Method, Url};

use crate::client::{Setup, Verify, both_or_none, chain, client, identity};
use crate::concurrency::{Concurrency, Ended};
use crate::dead_letter::DeadLetters;
use crate::event::Event;
use crate::json;
use crate::lang::kinds::{Hash, Password, Placed};
use crate::lang::problems::Problems;
use crate::lang::written::Written;
use crate::plugins::OutputOptions;
use crate::runtime::load::{Failure, Load, Output};
use crate::spec::{plugin, words};
use crate::template::Template;
use crate::topology::OutputSite;
use crate::value::{Map, Timestamp, Value};

plugin! {
    /// Sends events to a server over HTTP: a request for each event, or for a batch of them.
    ///
    /// ```
    /// output { http { url => "https://example.com/events" http_method => "post" format => "json_batch" } }
    /// ```
    ///
    /// An answer of 2xx, or one of `ignorable_codes`, acknowledges. An answer of `retryable_codes`, and none at all, is asked for
    /// again while the inputs wait. Any other answer makes dead letters of the events.
    ///
    /// Where each event has a request of its own, several are under way at once: as many as the server answers as soon as it
    /// usually does, and `pool_max` at the most. Events then may arrive in another order.
    output "http" => pub(crate) struct HttpOptions {
        /// Where to; a template.
        url: Placed<Template>,
        /// How.
        http_method: Verb,
        /// More headers. Values may be templates.
        headers: Hash<Template> = {},
        /// The type of the contents; that of `format` when left out.
        content_type: Option<String>,
        /// What is sent.
        format: Placed<Format> = "json",
        /// What is sent of an event, in place of all of its fields. Values may be templates, lists and maps.
        mapping: Option<Written>,
        /// The text to send, with `format => message`; a template.
        message: Option<Template>,
        /// Compress what is sent (gzip).
        http_compression: bool = false,
        /// Answers that mean: later.
        retryable_codes: Vec<u16> = [429, 500, 502, 503, 504],
        /// Answers that mean: enough.
        ignorable_codes: Vec<u16> = [],
        /// Whether what failed is sent again; else it is made dead letters.
        retry_failed: bool = true,
        /// The name of the user.
        user: Option<Placed<String>>,
        /// The password of the user.
        password: Option<Placed<Password>>,
        /// Files with the certificates (PEM) of the authorities to trust, instead of those of the system.
        ssl_certificate_authorities: Vec<String> = [],
        /// How the server's certificate is checked.
        ssl_verification_mode: Verification = "full",
        /// A file with the certificate (PEM) to show to the server; with `ssl_key`.
        ssl_certificate: Option<Placed<String>>,
        /// The file with the key (PEM, PKCS#8 or older) of `ssl_certificate`.
        ssl_key: Option<Placed<String>>,
        /// The URL of a proxy to go through.
        proxy: Option<String>,
        /// How long to wait for an answer.
        request_timeout: Duration = 60,
        /// The most requests that are under way at once, where each event has one of its own. With 1, events arrive in order.
        pool_max: usize = 50,
    }
    accepted {
        "cookies" => "no cookies are kept",
        "follow_redirects" => "name the place itself in `url`: redirects are not followed, and make dead letters",
        "pool_max_per_route" => "`pool_max` says how many requests are under way at once",
        "ssl_cipher_suites" => "the safe ones of TLS 1.2 and 1.3 are spoken",
        "ssl_supported_protocols" => "TLS 1.2 and 1.3 are spoken",
        "keepalive" => "connections are kept",
        "connect_timeout" => "it is 10 seconds",
        "socket_timeout" => "`request_timeout` is for all of a request",
        "automatic_retries" => "what had no answer is always asked again",
        "retry_non_idempotent" => "what had no answer is always asked again",
        "validate_after_inactivity" => "connections that were closed are noticed",
        "ssl_enabled" => "the URL says it: `https://`",
    }
    unsupported {
        "cacert" => "it is called `ssl_certificate_authorities`",
        "client_cert" => "it is called `ssl_certificate`",
        "client_key" => "it is called `ssl_key`",
        "keystore" => "give certificate and key in PEM form: `ssl_certificate` and `ssl_key`",
        "keystore_password" => "give certificate and key in PEM form: `ssl_certificate` and `ssl_key`",
        "ssl_keystore_path" => "give certificate and key in PEM form: `ssl_certificate` and `ssl_key`",
        "ssl_keystore_password" => "give certificate and key in PEM form: `ssl_certificate` and `ssl_key`",
        "ssl_keystore_type" => "give certificate and key in PEM form: `ssl_certificate` and `ssl_key`",
        "ssl_truststore_path" => "give certificates in PEM form: `ssl_certificate_authorities`",
        "ssl_truststore_password" => "give certificates in PEM form: `ssl_certificate_authorities`",
        "ssl_truststore_type" => "give certificates in PEM form: `ssl_certificate_authorities`",
        "truststore" => "give certificates in PEM form: `ssl_certificate_authorities`",
    }
    validate = check
}

words! {
    /// The method of a request.
    pub(crate) enum Verb {
        /// PUT.
        Put = "put",
        /// POST.
        Post = "post",
        /// PATCH.
        Patch = "patch",
        /// DELETE.
        Delete = "delete",
        /// GET.
        Get = "get",
        /// HEAD.
        Head = "head",
    }
}

words! {
    /// What is sent.
    pub(crate) enum Format {
        /// An event as a JSON object.
        Json = "json",
        /// Several events as a JSON array.
        JsonBatch = "json_batch",
        /// An event as a form.
        Form = "form",
        /// A text.
        Message = "message",
    }
}

words! {
    /// How a certificate is checked.
    pub(crate) enum Verification {
        /// Its authority and its name.
        Full = "full",
        /// Not at all.
        None = "none",
    }
}

fn check(options: &HttpOptions, problems: &mut Problems) {
    if let Some(url) = options.url.as_literal()
        && !Url::parse(url).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
    {
        problems
            .error(options.url.span, "this is no URL")
            .hint("write it like \"https://collector.example:8443/logs\"");
    }
    match (options.format.value, &options.message) {
        (Format::Message, None) => {
            problems
                .error(options.format.span, "there is no `message` to send")
                .hint("add `message => \"%{message}\"`");
        }
        (Format::JsonBatch, _) if options.url.has_fields() => {
            problems
                .error(options.url.span, "a batch goes to one place")
                .hint("leave `%{…}` out of the `url`, or choose another `format`");
        }
        _ => {}
    }
    match (&options.user, &options.password) {
        (Some(user), None) => {
            problems
                .error(user.span, "the `user` has no `password`")
                .hint("add `password => \"${HTTP_PASSWORD}\"`");
        }
        (None, Some(password)) => {
            problems.error(password.span, "the `password` is nobody's").hint("add `user => …`");
        }
        _ => {}
    }
    both_or_none(options.ssl_certificate.as_ref(), options.ssl_key.as_ref(), problems);
    for (name, _) in &options.headers.0 {
        if HeaderName::try_from(name.as_str()).is_err() {
            problems.error(options.url.span, format!("`{name}` cannot be the name of a header"));
        }
    }
}

impl OutputOptions for HttpOptions {
    fn build(&self, site: OutputSite) -> Result<Box<dyn Output>, String> {
        let mut headers = HeaderMap::new();
        if let Some((user, password)) = self.user.as_ref().zip(self.password.as_ref()) {
            let credentials =
                format!("Basic {}", BASE64.encode(format!("{}:{}", user.value, password.reveal())));
            let mut value = HeaderValue::try_from(credentials).map_err(|error| error.to_string())?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        let content_type = self.content_type.clone().unwrap_or_else(|| {
            let of_format = match self.format.value {
                Format::Json | Format::JsonBatch => "application/json",
                Format::Form => "application/x-www-form-urlencoded",
                Format::Message => "text/plain",
            };
            of_format.to_owned()
        });
        headers.insert(CONTENT_TYPE, HeaderValue::try_from(content_type).map_err(|error| error.to_string())?);
        if self.http_compression {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        let setup = Setup {
            headers,
            timeout: self.request_timeout,
            verify: match self.ssl_verification_mode {
                Verification::Full => Verify::AuthorityAndName,
                Verification::None => Verify::Nothing,
            },
            authorities: self.ssl_certificate_authorities.iter().map(PathBuf::from).collect(),
            tls: !self.url.literal_start().starts_with("http://") || self.proxy.is_some(),
            identity: identity(self.ssl_certificate.as_ref(), self.ssl_key.as_ref()),
            proxy: self.proxy.clone(),
        };
        let form = Form {
            mapping: self.mapping.as_ref().map(|mapping| Mapped::of(&mapping.0)),
            options: self.clone(),
        };
        let asker = Asker { client: client(&setup)?, form, id: site.id, dead_letters: site.dead_letters };
        Ok(Box::new(Http { asker, concurrency: Concurrency::up_to(self.pool_max) }))
    }
}

struct Http {
    asker: Asker,
    /// How many requests may be under way.
    concurrency: Concurrency,
}

struct Asker {
    client: Arc<Client>,
    form: Form,
    id: String,
    dead_letters: DeadLetters,
}

/// What became of a request.
enum Answer {
    Taken,
    /// It is to be asked again.
    Later(String),
    /// It will never be taken.
    Refused(String),
}

impl Output for Http {
    fn deliver<'a>(&'a mut self, load: &'a Load) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(async move {
            if self.asker.form.options.format.value == Format::JsonBatch {
                let events: Vec<&Event> = load.iter().collect();
                return match self.asker.ask(&events).await {
                    Answer::Taken => Ok(()),
                    Answer::Later(why) => Err(Failure::whole(why)),
                    Answer::Refused(why) => self.asker.keep_dead(&events, &why),
                };
            }
            self.ask_each(load).await
        })
    }
}

impl Http {
    /// Asks for each event by itself. Once one is to be asked again, no more are begun: the server has enough.
    async fn ask_each(&mut self, load: &Load) -> Result<(), Failure> {
        let Self { asker, concurrency } = self;
        let asker = &*asker;
        let mut waiting = load.iter().enumerate().peekable();
        let mut under_way = FuturesUnordered::new();
        let (mut left, mut reason) = (BTreeSet::new(), None);
        loop {
            while reason.is_none() && waiting.peek().is_some() && concurrency.begin(Instant::now()) {
                let Some((nth, event)) = waiting.next() else { break };
                under_way.push(async move {
                    let begun = Instant::now();
                    let answer = asker.ask(&[event]).await;
                    (nth, event, begun.elapsed(), answer)
                });
            }
            let Some((nth, event, took, answer)) = under_way.next().await else { break };
            let ended =
                if matches!(answer, Answer::Later(_)) { Ended::Pressed } else { Ended::Answered(took) };
            concurrency.end(Instant::now(), ended);
            let trouble = match answer {
                Answer::Taken => None,
                Answer::Later(why) => Some(why),
                Answer::Refused(why) => asker.keep_dead(&[event], &why).err().map(|failure| failure.reason),
            };
            if let Some(why) = trouble {
                left.insert(nth);
                reason.get_or_insert(why);
            }
        }
        drop(under_way);
        left.extend(waiting.map(|(nth, _)| nth));
        match reason {
            None => Ok(()),
            Some(why) => Err(Failure::partly(why, load.keep(|nth| left.contains(&nth)))),
        }
    }
}

impl Asker {
    async fn ask(&self, events: &[&Event]) -> Answer {
        let options = &self.form.options;
        let Some(first) = events.first() else { return Answer::Taken };
        let url = match Url::parse(&options.url.render(first)) {
            Ok(url) => url,
            Err(error) => return Answer::Refused(format!("the URL of the event is none: {error}")),
        };
        let method = match options.http_method {
            Verb::Put => Method::PUT,
            Verb::Post => Method::POST,
            Verb::Patch => Method::PATCH,
            Verb::Delete => Method::DELETE,
            Verb::Get => Method::GET,
            Verb::Head => Method::HEAD,
        };
        let mut request = self.client.request(method, url).body(self.form.body(events));
        for (name, value) in &options.headers.0 {
            request = request.header(name.as_str(), value.render(first).as_str());
        }
        let answer = match request.send().await {
            Err(error) if error.is_builder() => return Answer::Refused(chain(&error.without_url())),
            Err(error) => return self.later(chain(&error.without_url())),
            Ok(answer) => answer,
        };
        let code = answer.status().as_u16();
        if answer.status().is_success() || options.ignorable_codes.contains(&code) {
            return Answer::Taken;
        }
        match options.retryable_codes.contains(&code) {
            true => self.later(format!("the server answered {code}")),
            false => Answer::Refused(format!("the server answered {code}")),
        }
    }

    fn later(&self, why: String) -> Answer {
        if self.form.options.retry_failed { Answer::Later(why) } else { Answer::Refused(why) }
    }

    fn keep_dead(&self, events: &[&Event], why: &str) -> Result<(), Failure> {
        tracing::warn!(output = %self.id, count = events.len(), why, "events were refused; they are dead letters");
        let dead = events.iter().map(|event| (*event, why));
        let kept = self.dead_letters.keep(Timestamp::now(), dead);
        kept.map_err(|error| Failure::whole(format!("keep dead letters: {error}")))
    }
}

/// How events are written.
struct Form {
    mapping: Option<Mapped>,
    options: HttpOptions,
}

impl Form {
    fn body(&self, events: &[&Event]) -> Vec<u8> {
        let mut body = Vec::new();
        match self.options.format.value {
            Format::JsonBatch => {
                body.push(b'[');
                for (nth, event) in events.iter().enumerate() {
                    if nth > 0 {
                        body.push(b',');
                    }
                    self.write_json(event, &mut body);
                }
                body.push(b']');
            }
            Format::Json => events.iter().for_each(|event| self.write_json(event, &mut body)),
            Format::Form => events.iter().for_each(|event| self.write_form(event, &mut body)),
            Format::Message => {
                let text = self.options.message.as_ref();
                for text in events.iter().filter_map(|event| text.map(|text| text.render(event))) {
                    body.extend_from_slice(text.as_bytes());
                }
            }
        }
        if !self.options.http_compression {
            return body;
        }
        let mut packed = GzEncoder::new(Vec::new(), Compression::default());
        // Writing into memory cannot fail.
        packed.write_all(&body).and_then(|()| packed.finish()).unwrap_or_default()
    }

    fn write_json(&self, event: &Event, body: &mut Vec<u8>) {
        match &self.mapping {
            None => event.write_json(body),
            Some(mapping) => json::write_value(&mapping.fill(event), body),
        }
    }

    fn write_form(&self, event: &Event, body: &mut Vec<u8>) {
        let mut pairs = url::form_urlencoded::Serializer::new(String::new());
        match self.mapping.as_ref().map(|mapping| mapping.fill(event)) {
            Some(Value::Map(map)) => {
                for (name, value) in map.iter() {
                    pairs.append_pair(name, &value.to_text());
                }
            }
            Some(_) => {}
            None => {
                if let Some(at) = event.timestamp() {
                    pairs.append_pair("@timestamp", &Value::Time(at).to_text());
                }
                for (name, value) in event.fields().iter() {
                    pairs.append_pair(name, &value.to_text());
                }
            }
        }
        body.extend_from_slice(pairs.finish().as_bytes());
    }
}

/// A value whose texts are filled in for each event.
enum Mapped {
    Text(Template),
    List(Vec<Mapped>),
    Map(Vec<(String, Mapped)>),
}

impl Mapped {
    fn of(value: &Value) -> Self {
        match value {
            Value::Str(text) => Self::Text(Template::parse(text)),
            Value::List(items) => Self::List(items.iter().map(Self::of).collect()),
            Value::Map(map) => {
                Self::Map(map.iter().map(|(name, value)| (name.to_string(), Self::of(value))).collect())
            }
            // All that is sent of a mapping is text, as templates are.
            other => Self::Text(Template::parse(&other.to_text())),
        }
    }

    fn fill(&self, event: &Event) -> Value {
        match self {
            Self::Text(template) => Value::Str(template.render(event)),
            Self::List(items) => Value::List(items.iter().map(|item| item.fill(event)).collect()),
            Self::Map(entries) => Value::Map(
                entries.iter().map(|(name, value)| (name.as_str(), value.fill(event))).collect::<Map>(),
            ),
        }
    }
}

#[cfg(test)]
mod tests;
