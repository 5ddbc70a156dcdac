//! Makes ready what the output works with from its options: servers, credentials, shape of documents, templates.
use super::{ElasticsearchOptions, Maybe, ScriptType, StreamType, TemplateApi, Verification, VersionType};
use crate::bulk::cluster::{Cluster, Host, Manners, Sniff, api_key, basic, cloud_url, secret};
use crate::bulk::setup::{Api, IndexTemplate, Lifecycle, Setup};
use crate::bulk::{Action, DataStream, Rules, Shape, Target, Update, Verb};
use crate::client::{self, Verify, client, identity};
use crate::template::Template;
use reqwest::Client;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName};
use std::path::PathBuf;
use std::sync::Arc;

/// The lifecycle policy that is made when it is not there.
const POLICY: &str = "logstash-policy";

impl ElasticsearchOptions {
    /// A name with `ecs-` before it when that is wanted.
    fn named(&self, name: &str) -> String {
        self.ecs_compatibility.choose(name.to_owned(), format!("ecs-{name}"))
    }

    fn headers(&self) -> Result<HeaderMap, String> {
        let mut headers = HeaderMap::new();
        for (name, value) in &self.custom_headers.0 {
            let name =
                HeaderName::try_from(name).map_err(|_| format!("`{name}` is not the name of a header"))?;
            headers.insert(name, secret(value.clone())?);
        }
        if let (Some(user), Some(password)) = (&self.user, &self.password) {
            headers.insert(AUTHORIZATION, basic(user, password.reveal())?);
        }
        if let Some((user, password)) =
            self.cloud_auth.as_ref().and_then(|both| both.reveal().split_once(':'))
        {
            headers.insert(AUTHORIZATION, basic(user, password)?);
        }
        if let Some(key) = &self.api_key {
            headers.insert(AUTHORIZATION, api_key(key.reveal())?);
        }
        Ok(headers)
    }

    fn client(&self, hosts: &[Host]) -> Result<Arc<Client>, String> {
        let authorities = self.cacert.iter().chain(&self.ssl_certificate_authorities);
        client(&client::Setup {
            headers: self.headers()?,
            timeout: self.timeout,
            verify: match self.ssl_verification_mode {
                Verification::Full => Verify::AuthorityAndName,
                Verification::Certificate => Verify::Authority,
                Verification::None => Verify::Nothing,
            },
            authorities: authorities.map(PathBuf::from).collect(),
            identity: identity(self.ssl_certificate.as_ref(), self.ssl_key.as_ref()),
            proxy: self.proxy.clone().filter(|proxy| !proxy.is_empty()),
            tls: hosts.iter().any(Host::speaks_tls) || self.proxy.is_some(),
        })
    }

    pub(super) fn cluster(&self) -> Result<Cluster, String> {
        let hosts = match &self.cloud_id {
            Some(id) => vec![cloud_url(id)?],
            None => self.hosts.value.clone(),
        };
        let hosts = hosts.iter().map(|text| Host::at(text, self.ssl_enabled, self.path.as_deref()));
        let hosts = hosts.collect::<Result<Vec<_>, _>>()?;
        let path = || self.sniffing_path.clone().unwrap_or_else(|| "_nodes/http".to_owned());
        let manners = Manners {
            resurrect_after: self.resurrect_delay,
            health_path: self.healthcheck_path.clone().unwrap_or_else(|| "/".to_owned()),
            parameters: self.parameters.0.clone(),
            sniff: self.sniffing.then(|| Sniff::new(path(), self.sniffing_delay)),
        };
        Ok(Cluster::of(self.client(&hosts)?, hosts, manners))
    }

    fn lifecycle(&self) -> Option<Lifecycle> {
        let wanted = match self.ilm_enabled {
            Maybe::True => true,
            Maybe::False => false,
            Maybe::Auto => self.ilm_rollover_alias.is_some(),
        };
        (wanted && !self.uses_stream()).then(|| Lifecycle {
            alias: self
                .ilm_rollover_alias
                .as_ref()
                .map_or_else(|| self.named("logstash"), |alias| alias.value.clone()),
            pattern: self.ilm_pattern.clone(),
            policy: self.ilm_policy.clone(),
            built_in: self.ilm_policy == POLICY,
        })
    }

    pub(super) fn setup(&self) -> Result<Setup, String> {
        let lifecycle = self.lifecycle();
        let manage = self.manage_template.as_ref().map_or(!self.uses_stream(), |manage| manage.value);
        if !manage {
            return Ok(Setup { template: None, lifecycle });
        }
        let own = match &self.template {
            None => None,
            Some(path) => {
                let text = std::fs::read_to_string(&path.value)
                    .map_err(|error| format!("read the template `{}`: {error}", path.value))?;
                let json = serde_json::from_str(&text)
                    .map_err(|error| format!("read the template `{}`: {error}", path.value))?;
                Some(json)
            }
        };
        let alias = lifecycle.as_ref().map(|lifecycle| lifecycle.alias.clone());
        let name = self.template_name.as_ref().map(|name| name.value.clone()).or(alias);
        let template = IndexTemplate {
            name: name.unwrap_or_else(|| self.named("logstash")),
            own,
            overwrite: self.template_overwrite,
            api: match self.template_api {
                TemplateApi::Auto => None,
                TemplateApi::Legacy => Some(Api::Legacy),
                TemplateApi::Composable => Some(Api::Composable),
            },
            pattern: self.named("logstash-*"),
        };
        Ok(Setup { template: Some(template), lifecycle })
    }

    pub(super) fn shape(&self) -> Shape {
        let target = self.target();
        let verb = match (&target, &self.action) {
            (Target::Stream(_), _) => Verb::Always(Action::Create),
            (_, None) => Verb::Always(Action::Index),
            (_, Some(action)) => match action.as_literal().and_then(|name| Action::named(name)) {
                Some(action) => Verb::Always(action),
                None => Verb::Of(action.value.clone()),
            },
        };
        let version_type = self.version_type.as_ref().map(|kind| match kind.value {
            VersionType::Internal => "internal",
            VersionType::External => "external",
            VersionType::ExternalGt => "external_gt",
            VersionType::ExternalGte => "external_gte",
            VersionType::Force => "force",
        });
        let update = Update {
            doc_as_upsert: self.doc_as_upsert,
            upsert: self.upsert.clone().filter(is_not_empty),
            script: self.script.clone().filter(is_not_empty),
            script_as: match self.script_type {
                ScriptType::Inline => "source",
                ScriptType::Indexed => "id",
                ScriptType::File => "file",
            },
            script_lang: self.script_lang.clone(),
            script_var_name: self.script_var_name.clone(),
            scripted_upsert: self.scripted_upsert,
            retry_on_conflict: self.retry_on_conflict,
        };
        let join = self.join_field.as_ref().map(|field| field.value.clone());
        Shape {
            verb,
            target,
            document_id: self.document_id.clone(),
            pipeline: self.pipeline.as_ref().map(|given| given.value.clone()),
            routing: self.routing.as_ref().map(|given| given.value.clone()),
            version: self.version.as_ref().map(|given| given.value.clone()),
            version_type,
            parent: self.parent.as_ref().map(|parent| (parent.value.clone(), join)),
            update,
            refuse_unfilled: self.dlq_on_failed_indexname_interpolation,
        }
    }

    fn target(&self) -> Target {
        if self.uses_stream() {
            let or =
                |given: &Option<_>, otherwise: &str| given.clone().unwrap_or_else(|| otherwise.to_owned());
            let text =
                |given: &Option<crate::lang::kinds::Placed<String>>| given.as_ref().map(|g| g.value.clone());
            return Target::Stream(DataStream {
                kind: match self.data_stream_type.as_ref().map(|kind| kind.value) {
                    None | Some(StreamType::Logs) => "logs",
                    Some(StreamType::Metrics) => "metrics",
                    Some(StreamType::Synthetics) => "synthetics",
                    Some(StreamType::Traces) => "traces",
                }
                .to_owned(),
                dataset: or(&text(&self.data_stream_dataset), "generic"),
                namespace: or(&text(&self.data_stream_namespace), "default"),
                auto_routing: self.data_stream_auto_routing.as_ref().is_none_or(|given| given.value),
                sync_fields: self.data_stream_sync_fields.as_ref().is_none_or(|given| given.value),
            });
        }
        match (self.lifecycle(), &self.index) {
            (Some(lifecycle), _) => {
                Target::Index { name: Template::literal(&lifecycle.alias), built_in: false }
            }
            (None, Some(index)) => Target::Index { name: index.value.clone(), built_in: false },
            (None, None) => {
                let name = Template::parse(&self.named("logstash-%{+yyyy.MM.dd}"));
                Target::Index { name, built_in: true }
            }
        }
    }

    pub(super) fn rules(&self) -> Rules {
        let mut rules = Rules { dropped: self.drop_error_types.clone(), ..Rules::default() };
        rules.refused.extend(&self.dlq_custom_codes.value);
        rules
    }

    /// How much requests are compressed.
    pub(super) fn level(&self) -> u32 {
        match (&self.compression_level, self.http_compression) {
            (Some(level), _) => level.value.min(9),
            (None, Some(true)) => 1,
            (None, _) => 0,
        }
    }
}

fn is_not_empty(template: &Template) -> bool {
    template.as_literal().is_none_or(|text| !text.is_empty())
}
