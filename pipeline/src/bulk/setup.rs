//! Prepares a cluster for what is sent to it: an index template, and what index lifecycle management needs.
use super::cluster::{Cluster, Request};
use reqwest::Method;
use serde_json::{Value as Json, json};
use tracing::{info, warn};

/// What is prepared.
#[derive(Clone, Debug, Default)]
pub(crate) struct Setup {
    pub(crate) template: Option<IndexTemplate>,
    pub(crate) lifecycle: Option<Lifecycle>,
}

/// An index template.
#[derive(Clone, Debug)]
pub(crate) struct IndexTemplate {
    pub(crate) name: String,
    /// What it holds; the built-in one when absent.
    pub(crate) own: Option<Json>,
    pub(crate) overwrite: bool,
    /// Which API takes it; found out when absent.
    pub(crate) api: Option<Api>,
    /// The indices that the built-in one is for.
    pub(crate) pattern: String,
}

/// The two APIs for index templates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Api {
    Legacy,
    Composable,
}

/// Index lifecycle management.
#[derive(Clone, Debug)]
pub(crate) struct Lifecycle {
    pub(crate) alias: String,
    pub(crate) pattern: String,
    pub(crate) policy: String,
    /// Whether the policy is the built-in one, which is made when it is not there.
    pub(crate) built_in: bool,
}

impl Setup {
    /// Does it. An error is why it has to be tried again; what the server refuses is told and left.
    pub(crate) async fn run(&self, cluster: &Cluster) -> Result<(), String> {
        if self.template.is_none() && self.lifecycle.is_none() {
            return Ok(());
        }
        if let Some(template) = &self.template {
            let api = match template.api {
                Some(api) => api,
                None => match ask(cluster, Request::plain(Method::GET, "/")).await? {
                    Ok(answer) => api_of(&answer),
                    Err(_) => Api::Composable,
                },
            };
            self.install(template, api, cluster).await?;
        }
        match &self.lifecycle {
            Some(lifecycle) => lifecycle.prepare(cluster).await,
            None => Ok(()),
        }
    }

    async fn install(&self, template: &IndexTemplate, api: Api, cluster: &Cluster) -> Result<(), String> {
        let endpoint = match api {
            Api::Legacy => "_template",
            Api::Composable => "_index_template",
        };
        let path = format!("/{endpoint}/{}", encoded(&template.name));
        let there = ask(cluster, Request::plain(Method::HEAD, &path)).await?;
        if there.is_ok() && !template.overwrite {
            return Ok(());
        }
        let mut body = template.own.clone().unwrap_or_else(|| built_in(&template.pattern, api));
        if let Some(lifecycle) = &self.lifecycle {
            lifecycle.enter(&mut body, api);
        }
        match ask(cluster, Request::json(Method::PUT, &path, body.to_string())).await? {
            Ok(_) => info!(name = %template.name, "the index template is installed"),
            Err(why) => warn!(name = %template.name, why, "the index template was refused"),
        }
        Ok(())
    }
}

impl Lifecycle {
    /// Lets a template's indices be managed.
    fn enter(&self, template: &mut Json, api: Api) {
        let Some(map) = template.as_object_mut() else { return };
        map.insert("index_patterns".to_owned(), json!([format!("{}-*", self.alias)]));
        let inner = match api {
            Api::Composable => map.entry("template").or_insert_with(|| json!({})).as_object_mut(),
            Api::Legacy => Some(map),
        };
        let settings = inner.map(|inner| inner.entry("settings").or_insert_with(|| json!({})));
        if let Some(settings) = settings.and_then(Json::as_object_mut) {
            settings.insert("index.lifecycle.name".to_owned(), json!(self.policy));
            settings.insert("index.lifecycle.rollover_alias".to_owned(), json!(self.alias));
        }
    }

    async fn prepare(&self, cluster: &Cluster) -> Result<(), String> {
        let policy = format!("/_ilm/policy/{}", encoded(&self.policy));
        if ask(cluster, Request::plain(Method::GET, &policy)).await?.is_err() {
            if self.built_in {
                let hot = json!({ "actions": { "rollover": { "max_size": "50gb", "max_age": "30d" } } });
                let body = json!({ "policy": { "phases": { "hot": hot } } }).to_string();
                if let Err(why) = ask(cluster, Request::json(Method::PUT, &policy, body)).await? {
                    warn!(policy = %self.policy, why, "the lifecycle policy was refused");
                }
            } else {
                warn!(policy = %self.policy, "there is no such lifecycle policy on the server");
            }
        }
        let alias = format!("/{}", encoded(&self.alias));
        if ask(cluster, Request::plain(Method::HEAD, &alias)).await?.is_err() {
            let first = format!("/{}", encoded(&format!("<{}-{}>", self.alias, self.pattern)));
            let mut aliases = serde_json::Map::new();
            aliases.insert(self.alias.clone(), json!({ "is_write_index": true }));
            let body = json!({ "aliases": aliases }).to_string();
            if let Err(why) = ask(cluster, Request::json(Method::PUT, &first, body)).await? {
                warn!(alias = %self.alias, why, "the first index behind the rollover alias was refused");
            }
        }
        Ok(())
    }
}

/// An answer, or why the server refuses; the outer error is why it has to be asked again.
async fn ask(cluster: &Cluster, request: Request<'_>) -> Result<Result<Json, String>, String> {
    let (status, answer) = cluster.ask(request).await?;
    match status {
        200..=299 => Ok(Ok(serde_json::from_slice(&answer).unwrap_or_default())),
        429 | 500..=599 => Err(format!("the server is not ready ({status})")),
        _ => Ok(Err(format!("{} ({status})", String::from_utf8_lossy(&answer)))),
    }
}

fn encoded(name: &str) -> String {
    percent_encoding::utf8_percent_encode(name, percent_encoding::NON_ALPHANUMERIC).to_string()
}

/// The API for templates of a server that says this of itself: Elasticsearch 8, or OpenSearch, or a later one.
fn api_of(about: &Json) -> Api {
    let version = about.get("version");
    let text = |name: &str| version.and_then(|version| version.get(name)).and_then(Json::as_str);
    let major = text("number").and_then(|number| number.split('.').next()?.parse::<u32>().ok());
    match (text("distribution"), major) {
        (None, Some(..=7)) => Api::Legacy,
        _ => Api::Composable,
    }
}

/// The template for indices of this pattern: texts are searchable and, when short, sortable.
fn built_in(pattern: &str, api: Api) -> Json {
    let text = json!({ "type": "text", "norms": false });
    let mut sortable = text.clone();
    if let Some(map) = sortable.as_object_mut() {
        let keyword = json!({ "keyword": { "type": "keyword", "ignore_above": 256 } });
        map.insert("fields".to_owned(), keyword);
    }
    let mappings = json!({
        "dynamic_templates": [
            { "message_field": { "path_match": "message", "match_mapping_type": "string", "mapping": text } },
            { "string_fields": { "match": "*", "match_mapping_type": "string", "mapping": sortable } },
        ],
        "properties": {
            "@timestamp": { "type": "date" },
            "@version": { "type": "keyword" },
            "geoip": { "dynamic": true, "properties": {
                "ip": { "type": "ip" },
                "location": { "type": "geo_point" },
                "latitude": { "type": "half_float" },
                "longitude": { "type": "half_float" },
            } },
        },
    });
    let settings = json!({ "index.refresh_interval": "5s", "number_of_shards": 1 });
    match api {
        Api::Legacy => {
            json!({ "index_patterns": [pattern], "version": 80001, "settings": settings, "mappings": mappings })
        }
        Api::Composable => json!({
            "index_patterns": [pattern],
            "version": 80001,
            "priority": 200,
            "template": { "settings": settings, "mappings": mappings },
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_api_for_templates_is_chosen_by_what_the_server_says_of_itself() {
        let about = |number: &str| json!({ "version": { "number": number } });
        assert_eq!(api_of(&about("7.17.1")), Api::Legacy);
        assert_eq!(api_of(&about("8.15.0")), Api::Composable);
        let opensearch = json!({ "version": { "number": "2.19.1", "distribution": "opensearch" } });
        assert_eq!(api_of(&opensearch), Api::Composable);
        assert_eq!(api_of(&Json::Null), Api::Composable);
    }

    #[test]
    fn a_lifecycle_enters_templates_of_both_apis() {
        let lifecycle =
            Lifecycle { alias: "a".into(), pattern: "1".into(), policy: "p".into(), built_in: true };
        for (api, at) in [(Api::Legacy, "/settings"), (Api::Composable, "/template/settings")] {
            let mut template = built_in("logstash-*", api);
            lifecycle.enter(&mut template, api);
            assert_eq!(template["index_patterns"], json!(["a-*"]));
            assert_eq!(template.pointer(at).unwrap()["index.lifecycle.name"], "p");
        }
    }
}
