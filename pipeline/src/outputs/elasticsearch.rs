//! Sends events to Elasticsearch, or to what speaks its `_bulk` API.
mod check;
mod prepare;
mod site;
mod verdicts;

use crate::bulk::cluster::Request;
use crate::bulk::{self, Answer, Body, Limits, Renderer, Verdict};
use crate::ecs::Ecs;
use crate::field::FieldRef;
use crate::lang::kinds::{ByteSize, Hash, Password, Placed};
use crate::plugins::OutputOptions;
use crate::runtime::gate::Gate;
use crate::runtime::load::{Crew, Failure, Load, Output};
use crate::runtime::rendered::Render;
use crate::runtime::supervise::panic_reason;
use crate::spec::{plugin, words};
use crate::template::Template;
use crate::topology::OutputSite;
use crate::value::Timestamp;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use reqwest::Method;
use site::Site;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::task::spawn_blocking;
use tracing::warn;
use verdicts::{gzip, with_unfit};

plugin! {
    /// Sends events to Elasticsearch, or to what speaks its `_bulk` API (OpenSearch).
    ///
    /// ```
    /// output { elasticsearch { hosts => ["http://127.0.0.1:9200"] index => "logs-%{+YYYY.MM.dd}" } }
    /// ```
    ///
    /// Each document is judged by itself: one that is refused for good (400, 404 and `dlq_custom_codes`) becomes a dead
    /// letter in the data directory, with the reason (`logherd dlq`); one that is there already (409) is done; any other is
    /// sent again until it is taken, while the inputs wait. With `action => create` and a `document_id`, a document that was
    /// sent twice is there once.
    ///
    /// Servers are asked in turn; one that does not answer is left out for `resurrect_delay`, and asked for a sign of life before
    /// it gets events again. A request that is too large is sent in parts.
    ///
    /// While more waits than one request takes, several are under way at once, up to 8: more while answers come as soon as they
    /// usually do, fewer when they take longer, and when a server says that it has enough (429, 503) or does not answer. Documents
    /// then arrive in another order than their events did. Those whose order matters never overtake each other, and nothing
    /// overtakes them: those with an id of their own that are not created, those whose `action` is a template, and those of a
    /// relation or a version.
    ///
    /// An event may say in `[@metadata][_ingest_document]` what its `id`, `index`, `routing`, `pipeline`, `version` and `version_type`
    /// are, and in `[@metadata][target_ingest_pipeline]` its ingest pipeline; options that are given win.
    output "elasticsearch" => pub(crate) struct ElasticsearchOptions {
        /// The servers: `host:port` or URLs.
        hosts: Placed<Vec<String>> = ["http://127.0.0.1:9200"],
        /// The Cloud ID, instead of `hosts`.
        cloud_id: Option<Placed<String>>,
        /// The path below which the servers answer, for those in `hosts` that have none.
        path: Option<String>,
        /// The path of the bulk API. Default: `_bulk` below `path`.
        bulk_path: Option<String>,
        /// Added to the query of each request.
        parameters: Hash<String> = {},
        /// The index of each event. Default: `logstash-%{+yyyy.MM.dd}`, with `ecs-` before it when `ecs_compatibility` is on.
        index: Option<Placed<Template>>,
        /// The id of the document; made by the server when left out.
        document_id: Option<Template>,
        /// What to do: `index`, `create`, `update`, `delete`, or a template. Default: `index`, and `create` for data streams.
        action: Option<Placed<Template>>,
        /// The ingest pipeline.
        pipeline: Option<Placed<Template>>,
        /// The routing of the document.
        routing: Option<Placed<Template>>,
        /// The version of the document.
        version: Option<Placed<Template>>,
        /// How versions are compared.
        version_type: Option<Placed<VersionType>>,
        /// The id of the parent, for documents in a parent-child relation.
        parent: Option<Placed<Template>>,
        /// The field that holds the relation; its value is the name of the relation.
        join_field: Option<Placed<FieldRef>>,
        /// With `action => update`: put the event in when there is no document of that id.
        doc_as_upsert: bool = false,
        /// With `action => update`: the JSON to put in when there is no document of that id.
        upsert: Option<Template>,
        /// With `action => update`: the script to run; the event is its parameter.
        script: Option<Template>,
        /// What `script` is.
        script_type: ScriptType = "inline",
        /// The language of the script.
        script_lang: String = "painless",
        /// What the event is called in the script.
        script_var_name: String = "event",
        /// Whether the script also runs when there is no document of that id.
        scripted_upsert: bool = false,
        /// How often the server tries an update again when the document changes meanwhile.
        retry_on_conflict: u32 = 1,
        /// Whether events go to a data stream. `auto`: when `ecs_compatibility` is on and no option speaks against it.
        data_stream: Option<Placed<Maybe>>,
        /// The type of the data stream.
        data_stream_type: Option<Placed<StreamType>>,
        /// The dataset of the data stream. Default: `generic`.
        data_stream_dataset: Option<Placed<String>>,
        /// The namespace of the data stream. Default: `default`.
        data_stream_namespace: Option<Placed<String>>,
        /// Whether the fields `[data_stream][…]` of an event are made to say where it goes. Default: `true`.
        data_stream_sync_fields: Option<Placed<bool>>,
        /// Whether the fields `[data_stream][…]` of an event choose where it goes. Default: `true`.
        data_stream_auto_routing: Option<Placed<bool>>,
        /// Whether an index template is installed. Default: yes, unless events go to a data stream.
        manage_template: Option<Placed<bool>>,
        /// A file with the index template, instead of the built-in one.
        template: Option<Placed<String>>,
        /// The name of the index template. Default: `logstash`, with `ecs-` before it when `ecs_compatibility` is on.
        template_name: Option<Placed<String>>,
        /// Whether a template that is there is replaced.
        template_overwrite: bool = false,
        /// The API for index templates; `auto` asks the server.
        template_api: TemplateApi = "auto",
        /// Whether indices are rolled over by index lifecycle management. `auto`: when `ilm_rollover_alias` is given.
        ilm_enabled: Maybe = "auto",
        /// The alias that events are written to with index lifecycle management.
        ilm_rollover_alias: Option<Placed<String>>,
        /// How the first index behind the alias ends.
        ilm_pattern: String = "{now/d}-000001",
        /// The lifecycle policy. The default one is made when it is not there: a new index after 50 GB or 30 days.
        ilm_policy: String = "logstash-policy",
        /// The name of the user.
        user: Option<Placed<String>>,
        /// The password of the user.
        password: Option<Placed<Password>>,
        /// The API key, as `id:key` or in Base64.
        api_key: Option<Placed<Password>>,
        /// The user and the password, as `user:password`.
        cloud_auth: Option<Placed<Password>>,
        /// Whether to speak TLS with hosts that are given without `http://` or `https://`.
        ssl_enabled: bool = false,
        /// A file with the certificates (PEM) of the authorities to trust, instead of those of the system.
        cacert: Option<String>,
        /// Files with the certificates (PEM) of the authorities to trust, instead of those of the system.
        ssl_certificate_authorities: Vec<String> = [],
        /// How the server's certificate is checked.
        ssl_verification_mode: Verification = "full",
        /// A file with the certificate (PEM) to show to the servers; with `ssl_key`.
        ssl_certificate: Option<Placed<String>>,
        /// The file with the key (PEM) of `ssl_certificate`.
        ssl_key: Option<Placed<String>>,
        /// The URL of a proxy to go through.
        proxy: Option<String>,
        /// More headers for each request.
        custom_headers: Hash<String> = {},
        /// How much requests are compressed (gzip): from 0, not at all, to 9.
        compression_level: Option<Placed<u32>>,
        /// The older way to ask for compression: `true` is level 1.
        http_compression: Option<bool>,
        /// The most bytes of one request before compression; a single event may exceed it.
        bulk_max_size: ByteSize = "5mb",
        /// How long to wait for an answer.
        timeout: Duration = "60 seconds",
        /// How long a server that does not answer is left out.
        resurrect_delay: Duration = "5 seconds",
        /// What a server is asked for a sign of life. Default: `/`.
        healthcheck_path: Option<String>,
        /// Whether the servers are asked which others the cluster has; those get events then, but for masters that are nothing else.
        /// When none of them answers, those in `hosts` are asked again.
        sniffing: bool = false,
        /// How often they are asked for it.
        sniffing_delay: Duration = "5 seconds",
        /// What they are asked. Default: `_nodes/http` below `path`.
        sniffing_path: Option<String>,
        /// The first pause before events are sent again; it doubles with each failure. Default: 50 milliseconds.
        retry_initial_interval: Option<Duration>,
        /// The longest pause before events are sent again. Default: 10 seconds.
        retry_max_interval: Option<Duration>,
        /// Kinds of errors of which nothing is logged.
        silence_errors_in_log: Vec<String> = [],
        /// Kinds of errors whose events are dropped, and counted.
        drop_error_types: Vec<String> = [],
        /// More statuses of documents that make dead letters.
        dlq_custom_codes: Placed<Vec<u16>> = [],
        /// Whether an event whose `index` cannot be filled in becomes a dead letter.
        dlq_on_failed_indexname_interpolation: bool = true,
        /// Which names are the built-in ones, and whether `data_stream => auto` may be one.
        ecs_compatibility: Ecs = "disabled",
    }
    accepted {
        "document_type" => "mapping types do not exist any more",
        "failure_type_logging_whitelist" => "it is called `silence_errors_in_log`",
        "pool_max" => "there are as many connections as are needed",
        "pool_max_per_route" => "there are as many connections as are needed",
        "ssl_cipher_suites" => "those of TLS 1.2 and 1.3 that are safe are spoken",
        "ssl_supported_protocols" => "TLS 1.2 and 1.3 are spoken",
        "validate_after_inactivity" => "connections that were closed are made anew",
    }
    unsupported {
        "ssl" => "it is called `ssl_enabled`",
        "ssl_certificate_verification" => "it is called `ssl_verification_mode`",
        "ca_trusted_fingerprint" => "give the certificate itself in PEM form: `ssl_certificate_authorities`",
        "keystore" => "give certificate and key in PEM form: `ssl_certificate` and `ssl_key`",
        "keystore_password" => "give certificate and key in PEM form: `ssl_certificate` and `ssl_key`",
        "ssl_keystore_path" => "give certificate and key in PEM form: `ssl_certificate` and `ssl_key`",
        "ssl_keystore_password" => "give certificate and key in PEM form: `ssl_certificate` and `ssl_key`",
        "ssl_keystore_type" => "give certificate and key in PEM form: `ssl_certificate` and `ssl_key`",
        "truststore" => "give certificates in PEM form: `ssl_certificate_authorities`",
        "truststore_password" => "give certificates in PEM form: `ssl_certificate_authorities`",
        "ssl_truststore_path" => "give certificates in PEM form: `ssl_certificate_authorities`",
        "ssl_truststore_password" => "give certificates in PEM form: `ssl_certificate_authorities`",
        "ssl_truststore_type" => "give certificates in PEM form: `ssl_certificate_authorities`",
    }
    validate = check::check
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

words! {
    /// Yes, no, or as other options suggest.
    pub(crate) enum Maybe {
        /// Yes.
        True = "true",
        /// No.
        False = "false",
        /// As other options suggest.
        Auto = "auto",
    }
}

words! {
    /// How versions are compared.
    pub(crate) enum VersionType {
        /// The server counts.
        Internal = "internal",
        /// A greater version wins.
        External = "external",
        /// A greater version wins.
        ExternalGt = "external_gt",
        /// A version that is not smaller wins.
        ExternalGte = "external_gte",
        /// Any wins.
        Force = "force",
    }
}

words! {
    /// What a script is.
    pub(crate) enum ScriptType {
        /// The script itself.
        Inline = "inline",
        /// The id of a script on the server.
        Indexed = "indexed",
        /// The name of a file on an old server.
        File = "file",
    }
}

words! {
    /// The types of data streams.
    pub(crate) enum StreamType {
        /// Logs.
        Logs = "logs",
        /// Metrics.
        Metrics = "metrics",
        /// Synthetics.
        Synthetics = "synthetics",
        /// Traces.
        Traces = "traces",
    }
}

words! {
    /// The APIs for index templates.
    pub(crate) enum TemplateApi {
        /// The server is asked.
        Auto = "auto",
        /// The older one.
        Legacy = "legacy",
        /// The newer one.
        Composable = "composable",
    }
}

impl OutputOptions for ElasticsearchOptions {
    fn build(&self, site: OutputSite) -> Result<Box<dyn Output>, String> {
        let bulk_path = self.bulk_path.clone().unwrap_or_else(|| "_bulk".to_owned());
        let shape = Arc::new(self.shape());
        Ok(Box::new(Elasticsearch {
            site: Arc::new(Site {
                id: site.id,
                cluster: self.cluster()?,
                bulk_path,
                setup: Mutex::new(Some(self.setup()?)),
                renderer: Arc::new(Renderer::new(shape.clone())),
                shape,
                rules: self.rules(),
                silenced: self.silence_errors_in_log.clone(),
                max_bytes: usize::try_from(self.bulk_max_size.0).unwrap_or(usize::MAX),
                level: self.level(),
                pauses: (self.retry_initial_interval, self.retry_max_interval),
                dead_letters: site.dead_letters,
                gate: Gate::up_to(AT_ONCE_MAX),
            }),
            spare: Vec::new(),
        }))
    }
}

/// The most requests that are under way at once: what is on its way in a pipeline is seldom more than this many loads.
const AT_ONCE_MAX: usize = 8;

struct Elasticsearch {
    site: Arc<Site>,
    /// The buffer of the last request, to be used again.
    spare: Vec<u8>,
}

impl Output for Elasticsearch {
    fn deliver<'a>(&'a mut self, load: &'a Load) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(async move {
            let setup = self.site.setup().take();
            if let Some(setup) = setup
                && let Err(why) = setup.run(&self.site.cluster).await
            {
                *self.site.setup() = Some(setup);
                return Err(Failure::whole(why));
            }
            self.send_all(load).await
        })
    }

    fn rest(&mut self) {
        self.spare = Vec::new();
        self.site.renderer.rest();
    }

    fn renders(&self) -> Option<Arc<dyn Render>> {
        Some(self.site.renderer.clone())
    }

    fn crew(&self) -> Option<Arc<dyn Crew>> {
        Some(Arc::new(self.site.clone()))
    }

    fn pauses(&self) -> (Option<Duration>, Option<Duration>) {
        self.site.pauses
    }
}

impl Elasticsearch {
    async fn send_all(&mut self, load: &Load) -> Result<(), Failure> {
        let total = load.len();
        let mut limits = Limits { bytes: self.site.max_bytes, events: usize::MAX };
        let mut from = 0;
        let mut again: Vec<usize> = Vec::new();
        let mut reason = None;
        while from < total {
            let mut body = self.body(load, from, limits).await?;
            let (taken, unfit) = (body.events, std::mem::take(&mut body.unfit));
            let sent = taken - unfit.len();
            let verdicts = match self.ask(body, sent).await {
                Answer::Taken => Vec::new(),
                Answer::Each(verdicts) => verdicts,
                Answer::SendLess(why) if sent == 1 => vec![Verdict::Refused(why)],
                Answer::SendLess(_) => {
                    limits.events = taken / 2;
                    continue;
                }
                Answer::Later(why) => {
                    let left = load.keep(|nth| nth >= from || again.binary_search(&nth).is_ok());
                    return Err(Failure::partly(why, left));
                }
            };
            let mut refused = Vec::new();
            for (nth, verdict) in (from..).zip(with_unfit(taken, unfit, verdicts)) {
                match verdict {
                    Verdict::Taken => {}
                    Verdict::Later(why) => {
                        again.push(nth);
                        reason.get_or_insert(why);
                    }
                    Verdict::Refused(why) => refused.push((nth, why)),
                    Verdict::Dropped(why) => self.drop_one(&why),
                }
            }
            if let Err(why) = self.keep_dead(load, &refused).await {
                again.extend(refused.iter().map(|(nth, _)| *nth));
                again.sort_unstable();
                reason = Some(why);
            }
            from += taken;
        }
        match reason {
            None => Ok(()),
            Some(reason) => Err(Failure::partly(reason, load.keep(|nth| again.binary_search(&nth).is_ok()))),
        }
    }

    /// Writing JSON takes its time: it is done where it holds up nobody.
    async fn body(&mut self, load: &Load, from: usize, limits: Limits) -> Result<Body, Failure> {
        let (shape, load, buffer) = (self.site.shape.clone(), load.clone(), std::mem::take(&mut self.spare));
        spawn_blocking(move || bulk::body(&shape, &load, from, limits, buffer))
            .await
            .map_err(|error| Failure::whole(panic_reason(error)))
    }

    /// Asks for the documents of a body to be taken.
    async fn ask(&mut self, body: Body, sent: usize) -> Answer {
        if sent == 0 {
            self.spare = body.text;
            return Answer::Taken;
        }
        let (text, packed) = match self.site.level {
            0 => (Bytes::from(body.text), None),
            level => match spawn_blocking(move || gzip(body.text, level)).await {
                Ok(Ok((text, packed))) => (text.into(), Some(Bytes::from(packed))),
                Ok(Err(error)) => return Answer::Later(format!("compress: {error}")),
                Err(error) => return Answer::Later(panic_reason(error)),
            },
        };
        // Only what is needed comes back; every document keeps its place because each has a status.
        let query = [("filter_path", "errors,items.*.status,items.*.error")];
        let gzipped = packed.is_some();
        let body = Some(packed.unwrap_or_else(|| text.clone()));
        let request =
            Request { method: Method::POST, path: &self.site.bulk_path, query: &query, body, gzipped };
        let pass = self.site.gate.enter().await;
        let answer = match self.site.cluster.ask(request).await {
            Ok((status, answer)) => bulk::read_answer(status, &answer, sent, &self.site.rules),
            Err(why) => Answer::Later(why),
        };
        if answer.says_later() {
            pass.pressed()
        } else {
            pass.answered()
        }
        if let Ok(buffer) = text.try_into_mut() {
            self.spare = buffer.into();
        }
        answer
    }

    fn is_silenced(&self, why: &str) -> bool {
        self.site.silenced.iter().any(|kind| why.starts_with(kind.as_str()))
    }

    fn drop_one(&self, why: &str) {
        self.site.dead_letters.count_dropped(1);
        if !self.is_silenced(why) {
            warn!(output = %self.site.id, reason = %why, "an event was refused and is dropped, as `drop_error_types` says");
        }
    }

    async fn keep_dead(&self, load: &Load, refused: &[(usize, String)]) -> Result<(), String> {
        if refused.is_empty() {
            return Ok(());
        }
        if let Some((_, first)) = refused.iter().find(|(_, why)| !self.is_silenced(why)) {
            let count = refused.len();
            warn!(output = %self.site.id, count, reason = %first, "events were refused; they are dead letters");
        }
        let (letters, load, refused) = (self.site.dead_letters.clone(), load.clone(), refused.to_vec());
        let work = spawn_blocking(move || {
            let mut reasons = refused.iter().peekable();
            let dead = load.iter().enumerate().filter_map(|(nth, event)| {
                let (_, reason) = reasons.next_if(|(at, _)| *at == nth)?;
                Some((event, reason.as_str()))
            });
            letters.keep(Timestamp::now(), dead)
        });
        match work.await {
            Ok(kept) => kept.map_err(|error| format!("keep dead letters: {error}")),
            Err(error) => Err(panic_reason(error)),
        }
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod unreliable;
