//! Sends events to Elasticsearch, or to what speaks its `_bulk` API.
use crate::bulk::{self, Answer, Body, Limits, Shape, Verdict};
use crate::client::{Setup, Verify, chain, client};
use crate::dead_letter::DeadLetters;
use crate::lang::kinds::{ByteSize, Hash, Password, Placed};
use crate::lang::problems::Problems;
use crate::plugins::OutputOptions;
use crate::runtime::load::{Failure, Load, Output};
use crate::runtime::supervise::panic_reason;
use crate::spec::{plugin, words};
use crate::template::Template;
use crate::topology::OutputSite;
use crate::value::Timestamp;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use futures_util::future::BoxFuture;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Url};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::spawn_blocking;
use tracing::warn;

plugin! {
    /// Sends events to Elasticsearch, or to what speaks its `_bulk` API (OpenSearch).
    ///
    /// ```
    /// output { elasticsearch { hosts => ["http://127.0.0.1:9200"] index => "logs-%{+YYYY.MM.dd}" } }
    /// ```
    ///
    /// Each document is judged by itself: one that is refused for now (429, 5xx) is sent again until it is taken, while
    /// the inputs wait; one that is refused for good (other 4xx) goes to the dead-letter file in the data directory,
    /// with the reason. With `action => create` and a `document_id`, a document that was sent twice is there once.
    output "elasticsearch" => pub(crate) struct ElasticsearchOptions {
        /// The servers: `host:port` or URLs. When one does not answer, the next one is asked.
        hosts: Placed<Vec<String>> = ["http://127.0.0.1:9200"],
        /// The index of each event.
        index: Template = "logstash-%{+YYYY.MM.dd}",
        /// The id of the document; made by the server when left out.
        document_id: Option<Template>,
        /// What to do with a document of that id that is there already.
        action: Action = "index",
        /// The ingest pipeline.
        pipeline: Option<Template>,
        /// The routing of the document.
        routing: Option<Template>,
        /// The name of the user.
        user: Option<Placed<String>>,
        /// The password of the user.
        password: Option<Placed<Password>>,
        /// The API key, as `id:key` or in Base64.
        api_key: Option<Password>,
        /// Whether to speak TLS with hosts that are given without `http://` or `https://`.
        ssl_enabled: bool = false,
        /// A file with the certificates (PEM) of the authorities to trust, instead of those of the system.
        cacert: Option<String>,
        /// Files with the certificates (PEM) of the authorities to trust, instead of those of the system.
        ssl_certificate_authorities: Vec<String> = [],
        /// How the server's certificate is checked.
        ssl_verification_mode: Verification = "full",
        /// More headers for each request.
        custom_headers: Hash<String> = {},
        /// The most bytes of one request; a single event may exceed it.
        bulk_max_size: ByteSize = "5mb",
        /// How long to wait for an answer.
        timeout: Duration = "60 seconds",
    }
    unsupported {
        "data_stream" => "set `index` to the name of the data stream and `action => create`",
        "ilm_enabled" => "set up index lifecycle management on the server",
        "manage_template" => "index templates are managed on the server",
        "template" => "index templates are managed on the server",
        "template_name" => "index templates are managed on the server",
        "template_overwrite" => "index templates are managed on the server",
        "document_type" => "mapping types do not exist any more",
        "sniffing" => "list the servers in `hosts`",
        "ssl" => "it is called `ssl_enabled`",
        "ssl_certificate_verification" => "it is called `ssl_verification_mode`",
        "cloud_id" => "give the URL in `hosts`",
        "cloud_auth" => "use `user` and `password`",
        "http_compression" => "requests are not compressed",
        "compression_level" => "requests are not compressed",
        "proxy" => "servers are asked directly",
        "retry_max_interval" => "pauses between attempts grow to 10 seconds",
        "retry_initial_interval" => "pauses between attempts begin at 50 milliseconds",
    }
    validate = check
}

words! {
    /// What to do with a document.
    pub(crate) enum Action {
        /// Put it in, replacing one with the same id.
        Index = "index",
        /// Put it in, unless there is one with the same id.
        Create = "create",
    }
}

words! {
    /// How a certificate is checked.
    pub(crate) enum Verification {
        /// Its authority and its name.
        Full = "full",
        /// Its authority only.
        Certificate = "certificate",
        /// Not at all.
        None = "none",
    }
}

fn check(options: &ElasticsearchOptions, problems: &mut Problems) {
    let span = options.hosts.span;
    if options.hosts.value.is_empty() {
        problems.error(span, "there are no hosts");
    }
    for host in &options.hosts.value {
        if host_url(host, options.ssl_enabled).is_err() {
            // Not shown: it may hold a password.
            problems
                .error(span, "a host is neither `host:port` nor a URL")
                .hint("write it like \"https://es-1:9200\"");
        }
    }
    match (&options.user, &options.password, &options.api_key) {
        (Some(user), _, Some(_)) => {
            problems.error(user.span, "both `user` and `api_key` are given").hint("leave one of them out");
        }
        (Some(user), None, None) => {
            problems
                .error(user.span, "the `user` has no `password`")
                .hint("add `password => \"${ES_PASSWORD}\"`");
        }
        (None, Some(password), _) => {
            problems.error(password.span, "the `password` is nobody's").hint("add `user => …`");
        }
        _ => {}
    }
}

/// A server, and the credentials that its URL had.
#[derive(Clone)]
struct Host {
    bulk: Url,
    /// Where it is, without secrets.
    shown: String,
    authorization: Option<HeaderValue>,
}

fn host_url(text: &str, tls: bool) -> Result<Url, String> {
    let scheme = if tls { "https" } else { "http" };
    let whole = match text {
        _ if text.starts_with("http://") || text.starts_with("https://") => text.to_owned(),
        _ if text.contains("://") => return Err("it is neither http nor https".to_owned()),
        _ => format!("{scheme}://{}", text.trim_start_matches('/')),
    };
    let given_port = Url::parse(&whole.replacen("http", "logherd", 1)).ok().and_then(|url| url.port());
    let mut url = Url::parse(&whole).map_err(|error| error.to_string())?;
    if !url.has_host() {
        return Err("it has no host".to_owned());
    }
    url.set_port(Some(given_port.unwrap_or(9200))).map_err(|()| "it can have no port".to_owned())?;
    Ok(url)
}

fn host(text: &str, tls: bool) -> Result<Host, String> {
    let mut url = host_url(text, tls)?;
    let decode = |text: &str| percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned();
    let authorization = match url.password() {
        Some(password) => Some(basic(&decode(url.username()), &decode(password))?),
        None => None,
    };
    url.set_username("")
        .and_then(|()| url.set_password(None))
        .map_err(|()| "it can have no user".to_owned())?;
    let shown = url.to_string();
    let path = format!("{}/_bulk", url.path().trim_end_matches('/'));
    url.set_path(&path);
    // Only what is needed comes back; every document keeps its place because each has a status.
    url.set_query(Some("filter_path=errors,items.*.status,items.*.error"));
    Ok(Host { bulk: url, shown, authorization })
}

fn basic(user: &str, password: &str) -> Result<HeaderValue, String> {
    secret(format!("Basic {}", BASE64.encode(format!("{user}:{password}"))))
}

fn secret(text: String) -> Result<HeaderValue, String> {
    let mut value =
        HeaderValue::try_from(text).map_err(|_| "a credential holds control characters".to_owned())?;
    value.set_sensitive(true);
    Ok(value)
}

impl ElasticsearchOptions {
    fn headers(&self) -> Result<HeaderMap, String> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
        for (name, value) in &self.custom_headers.0 {
            let name =
                HeaderName::try_from(name).map_err(|_| format!("`{name}` is not the name of a header"))?;
            headers.insert(name, secret(value.clone())?);
        }
        if let (Some(user), Some(password)) = (&self.user, &self.password) {
            headers.insert(AUTHORIZATION, basic(user, password.reveal())?);
        }
        if let Some(key) = &self.api_key {
            let key = key.reveal();
            let key = if key.contains(':') { BASE64.encode(key) } else { key.to_owned() };
            headers.insert(AUTHORIZATION, secret(format!("ApiKey {key}"))?);
        }
        Ok(headers)
    }

    fn client(&self, hosts: &[Host]) -> Result<Arc<Client>, String> {
        let verify = match self.ssl_verification_mode {
            Verification::Full => Verify::AuthorityAndName,
            Verification::Certificate => Verify::Authority,
            Verification::None => Verify::Nothing,
        };
        let authorities = self.cacert.iter().chain(&self.ssl_certificate_authorities);
        let authorities = authorities.map(PathBuf::from).collect();
        let tls = hosts.iter().any(|host| host.bulk.scheme() != "http");
        client(&Setup { headers: self.headers()?, timeout: self.timeout, verify, authorities, tls })
    }
}

impl OutputOptions for ElasticsearchOptions {
    fn build(&self, site: OutputSite) -> Result<Box<dyn Output>, String> {
        let hosts: Vec<Host> =
            self.hosts.value.iter().map(|text| host(text, self.ssl_enabled)).collect::<Result<_, _>>()?;
        let action = match self.action {
            Action::Index => "index",
            Action::Create => "create",
        };
        let shape = Shape {
            action,
            index: self.index.clone(),
            document_id: self.document_id.clone(),
            pipeline: self.pipeline.clone(),
            routing: self.routing.clone(),
        };
        Ok(Box::new(Elasticsearch {
            id: site.id,
            client: self.client(&hosts)?,
            hosts,
            turn: 0,
            shape: Arc::new(shape),
            max_bytes: usize::try_from(self.bulk_max_size.0).unwrap_or(usize::MAX),
            dead_letters: site.dead_letters,
            spare: Vec::new(),
        }))
    }
}

struct Elasticsearch {
    id: String,
    client: Arc<Client>,
    hosts: Vec<Host>,
    /// Which host is asked next.
    turn: usize,
    shape: Arc<Shape>,
    max_bytes: usize,
    dead_letters: Arc<DeadLetters>,
    /// The buffer of the last request, to be used again.
    spare: Vec<u8>,
}

impl Output for Elasticsearch {
    fn deliver<'a>(&'a mut self, load: &'a Load) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(self.send_all(load))
    }

    fn rest(&mut self) {
        self.spare = Vec::new();
    }
}

impl Elasticsearch {
    async fn send_all(&mut self, load: &Load) -> Result<(), Failure> {
        let total = load.len();
        let mut limits = Limits { bytes: self.max_bytes, events: usize::MAX };
        let mut from = 0;
        let mut again: Vec<usize> = Vec::new();
        let mut reason = None;
        while from < total {
            let body = self.body(load, from, limits).await?;
            let sent = body.events;
            let verdicts = match self.ask(body).await {
                Answer::Taken => Vec::new(),
                Answer::Each(verdicts) => verdicts,
                Answer::SendLess(why) if sent == 1 => vec![Verdict::Refused(why)],
                Answer::SendLess(_) => {
                    limits.events = sent / 2;
                    continue;
                }
                Answer::Later(why) => {
                    let left = load.keep(|nth| nth >= from || again.binary_search(&nth).is_ok());
                    return Err(Failure::partly(why, left));
                }
            };
            let mut refused = Vec::new();
            for (nth, verdict) in (from..).zip(verdicts) {
                match verdict {
                    Verdict::Taken => {}
                    Verdict::Later(why) => {
                        again.push(nth);
                        reason.get_or_insert(why);
                    }
                    Verdict::Refused(why) => refused.push((nth, why)),
                }
            }
            if let Err(why) = self.keep_dead(load, &refused).await {
                again.extend(refused.iter().map(|(nth, _)| *nth));
                again.sort_unstable();
                reason = Some(why);
            }
            from += sent;
        }
        match reason {
            None => Ok(()),
            Some(reason) => Err(Failure::partly(reason, load.keep(|nth| again.binary_search(&nth).is_ok()))),
        }
    }

    /// Writing JSON takes its time: it is done where it holds up nobody.
    async fn body(&mut self, load: &Load, from: usize, limits: Limits) -> Result<Body, Failure> {
        let (shape, load, buffer) = (self.shape.clone(), load.clone(), std::mem::take(&mut self.spare));
        spawn_blocking(move || bulk::body(&shape, &load, from, limits, buffer))
            .await
            .map_err(|error| Failure::whole(panic_reason(error)))
    }

    /// Asks one host after the other until one answers.
    async fn ask(&mut self, body: Body) -> Answer {
        let text = bytes::Bytes::from(body.text);
        let answer = self.ask_with(&text, body.events).await;
        if let Ok(buffer) = text.try_into_mut() {
            self.spare = buffer.into();
        }
        answer
    }

    async fn ask_with(&mut self, text: &bytes::Bytes, events: usize) -> Answer {
        let mut why = String::new();
        for _ in 0..self.hosts.len() {
            let Some(host) = self.hosts.get(self.turn % self.hosts.len()) else { break };
            let mut request = self.client.post(host.bulk.clone()).body(text.clone());
            if let Some(authorization) = &host.authorization {
                request = request.header(AUTHORIZATION, authorization);
            }
            let answered = match request.send().await {
                Ok(response) => {
                    let status = response.status().as_u16();
                    response.bytes().await.map(|bytes| (status, bytes))
                }
                Err(error) => Err(error),
            };
            match answered {
                // This host is busy or broken; the next attempt goes to another.
                Ok((status @ (429 | 500..=599), bytes)) => {
                    self.turn = self.turn.wrapping_add(1);
                    return bulk::read_answer(status, &bytes, events);
                }
                Ok((status, bytes)) => return bulk::read_answer(status, &bytes, events),
                Err(error) => {
                    why = format!("ask {}: {}", host.shown, chain(&error.without_url()));
                    self.turn = self.turn.wrapping_add(1);
                }
            }
        }
        Answer::Later(why)
    }

    async fn keep_dead(&self, load: &Load, refused: &[(usize, String)]) -> Result<(), String> {
        let Some((_, first)) = refused.first() else { return Ok(()) };
        warn!(output = %self.id, count = refused.len(), reason = %first, "events were refused; they are dead letters");
        let (letters, id, load, refused) =
            (self.dead_letters.clone(), self.id.clone(), load.clone(), refused.to_vec());
        let work = spawn_blocking(move || {
            let mut reasons = refused.iter().peekable();
            let dead = load.iter().enumerate().filter_map(|(nth, event)| {
                let (_, reason) = reasons.next_if(|(at, _)| *at == nth)?;
                Some((event, reason.as_str()))
            });
            letters.keep(&id, Timestamp::now(), dead)
        });
        match work.await {
            Ok(kept) => kept.map_err(|error| format!("keep dead letters: {error}")),
            Err(error) => Err(panic_reason(error)),
        }
    }
}

#[cfg(test)]
mod tests;
