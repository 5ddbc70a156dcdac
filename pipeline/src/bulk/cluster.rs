//! Asks the servers of a cluster in turn, leaves out for a while those that do not answer, and says where they are.
mod sniff;

pub(crate) use sniff::Sniff;

use crate::client::chain;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use reqwest::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HeaderValue};
use reqwest::{Client, Method, Url};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The port of Elasticsearch.
const PORT: u16 = 9200;

/// A server, and the credentials that its URL had.
#[derive(Clone, Debug)]
pub(crate) struct Host {
    base: Url,
    /// Where it is, without secrets.
    shown: String,
    authorization: Option<HeaderValue>,
    /// Since when it does not answer.
    dead_since: Option<Instant>,
}

/// The servers of a cluster, and whose turn it is.
#[derive(Debug)]
struct Hosts {
    all: Vec<Host>,
    /// Which one is asked next.
    turn: usize,
    /// When the cluster was last asked for its servers.
    sniffed: Option<Instant>,
}

/// Servers that are asked in turn, by several at once.
#[derive(Debug)]
pub(crate) struct Cluster {
    client: Arc<Client>,
    hosts: Mutex<Hosts>,
    manners: Manners,
}

/// How the servers of a cluster are asked.
#[derive(Clone, Debug)]
pub(crate) struct Manners {
    /// How long a server that does not answer is left out.
    pub(crate) resurrect_after: Duration,
    /// Below each server: what it is asked to see whether it answers again.
    pub(crate) health_path: String,
    /// Added to the query of each request.
    pub(crate) parameters: Vec<(String, String)>,
    /// Whether the cluster itself is asked for its servers.
    pub(crate) sniff: Option<Sniff>,
}

/// One request.
#[derive(Clone, Debug)]
pub(crate) struct Request<'a> {
    pub(crate) method: Method,
    /// Below each server.
    pub(crate) path: &'a str,
    pub(crate) query: &'a [(&'a str, &'a str)],
    pub(crate) body: Option<Bytes>,
    pub(crate) gzipped: bool,
}

impl<'a> Request<'a> {
    /// Without a body.
    pub(crate) fn plain(method: Method, path: &'a str) -> Self {
        Self { method, path, query: &[], body: None, gzipped: false }
    }

    /// With JSON.
    pub(crate) fn json(method: Method, path: &'a str, body: String) -> Self {
        Self { body: Some(body.into()), ..Self::plain(method, path) }
    }
}

/// Reads where a server is: `host:port` or a URL; `https` is spoken when it does not say.
pub(crate) fn host_url(text: &str, tls: bool) -> Result<Url, String> {
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
    url.set_port(Some(given_port.unwrap_or(PORT))).map_err(|()| "it can have no port".to_owned())?;
    Ok(url)
}

/// The URL that a Cloud ID stands for: `name:` and, in Base64, `host$elasticsearch$kibana`.
pub(crate) fn cloud_url(id: &str) -> Result<String, String> {
    let coded = id.rsplit_once(':').map_or(id, |(_, coded)| coded);
    let decoded = BASE64.decode(coded).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let decoded = decoded.ok_or("it is not `name:` and Base64")?;
    let mut parts = decoded.split('$');
    let (Some(host), Some(cluster)) = (parts.next(), parts.next().filter(|part| !part.is_empty())) else {
        return Err("it names no cluster".to_owned());
    };
    let (host, default_port) = host.split_once(':').unwrap_or((host, "443"));
    let (cluster, port) = cluster.split_once(':').unwrap_or((cluster, default_port));
    if host.is_empty() || port.parse::<u16>().is_err() {
        return Err("it names no host".to_owned());
    }
    Ok(format!("https://{cluster}.{host}:{port}"))
}

impl Host {
    /// The server at this place; `path` is below which it answers, unless the URL says.
    pub(crate) fn at(text: &str, tls: bool, path: Option<&str>) -> Result<Self, String> {
        let mut url = host_url(text, tls)?;
        let decode = |text: &str| percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned();
        let authorization = match url.password() {
            Some(password) => Some(basic(&decode(url.username()), &decode(password))?),
            None => None,
        };
        url.set_username("")
            .and_then(|()| url.set_password(None))
            .map_err(|()| "it can have no user".to_owned())?;
        if let (Some(path), "" | "/") = (path, url.path()) {
            url.set_path(path.trim_end_matches('/'));
        }
        let mut shown = url.clone();
        shown.set_query(None);
        Ok(Self { shown: shown.to_string(), base: url, authorization, dead_since: None })
    }

    /// Whether it is spoken to in TLS.
    pub(crate) fn speaks_tls(&self) -> bool {
        self.base.scheme() != "http"
    }

    fn url(&self, request: &Request<'_>, parameters: &[(String, String)]) -> Url {
        let mut url = self.base.clone();
        let below = request.path.trim_start_matches('/');
        url.set_path(&format!("{}/{below}", self.base.path().trim_end_matches('/')));
        if !(request.query.is_empty() && parameters.is_empty()) {
            let mut query = url.query_pairs_mut();
            query.extend_pairs(request.query);
            query.extend_pairs(parameters);
        }
        url
    }

    fn is_alive(&self, now: Instant, resurrect_after: Duration) -> bool {
        self.dead_since.is_none_or(|since| now.duration_since(since) >= resurrect_after)
    }
}

/// The header of basic authentication.
pub(crate) fn basic(user: &str, password: &str) -> Result<HeaderValue, String> {
    secret(format!("Basic {}", BASE64.encode(format!("{user}:{password}"))))
}

/// The header of an API key, given as `id:key` or in Base64.
pub(crate) fn api_key(key: &str) -> Result<HeaderValue, String> {
    let key = if key.contains(':') { BASE64.encode(key) } else { key.to_owned() };
    secret(format!("ApiKey {key}"))
}

/// A header that is never shown.
pub(crate) fn secret(text: String) -> Result<HeaderValue, String> {
    let mut value =
        HeaderValue::try_from(text).map_err(|_| "a credential holds control characters".to_owned())?;
    value.set_sensitive(true);
    Ok(value)
}

impl Cluster {
    /// A cluster of these servers.
    pub(crate) fn of(client: Arc<Client>, hosts: Vec<Host>, manners: Manners) -> Self {
        let sniff = manners.sniff.clone().map(|sniff| Sniff { seeds: hosts.clone(), ..sniff });
        let hosts = Mutex::new(Hosts { all: hosts, turn: 0, sniffed: None });
        Self { client, hosts, manners: Manners { sniff, ..manners } }
    }

    fn hosts(&self) -> MutexGuard<'_, Hosts> {
        self.hosts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks one server after the other until one answers: its status and its answer. The reason why none does is for
    /// people.
    pub(crate) async fn ask(&self, request: Request<'_>) -> Result<(u16, Bytes), String> {
        self.sniff_when_due().await;
        let mut why = "there are no hosts".to_owned();
        for host in self.next(Instant::now()) {
            if let Err(error) = self.revive(&host).await {
                why = error;
                continue;
            }
            match self.ask_one(&host, &request).await {
                Ok(answer) => return Ok(answer),
                Err(error) => why = error,
            }
        }
        self.forget_sniffed();
        Err(why)
    }

    /// The servers in the order in which they are asked; whoever asks next begins with another one.
    fn next(&self, now: Instant) -> Vec<Host> {
        let mut hosts = self.hosts();
        let order = hosts.order(now, self.manners.resurrect_after);
        hosts.turn = order.first().map_or(0, |first| first.wrapping_add(1));
        order.iter().filter_map(|nth| hosts.all.get(*nth)).cloned().collect()
    }

    /// Notes whether a server answers; it may be none of the cluster's any more.
    fn note(&self, shown: &str, dead_since: Option<Instant>) {
        if let Some(host) = self.hosts().all.iter_mut().find(|host| host.shown == shown) {
            host.dead_since = dead_since;
        }
    }

    /// Sees whether a server that did not answer does so again, before it is given a body.
    async fn revive(&self, host: &Host) -> Result<(), String> {
        if host.dead_since.is_none() || self.hosts().all.len() < 2 {
            return Ok(());
        }
        let path = self.manners.health_path.clone();
        match self.ask_one(host, &Request::plain(Method::HEAD, &path)).await? {
            (500..=599, _) => {
                self.note(&host.shown, Some(Instant::now()));
                Err("a server is not well".to_owned())
            }
            _ => Ok(()),
        }
    }

    async fn ask_one(&self, host: &Host, request: &Request<'_>) -> Result<(u16, Bytes), String> {
        let url = host.url(request, &self.manners.parameters);
        let mut sent = self.client.request(request.method.clone(), url);
        if let Some(authorization) = &host.authorization {
            sent = sent.header(AUTHORIZATION, authorization);
        }
        if let Some(body) = &request.body {
            let kind =
                if request.path.ends_with("_bulk") { "application/x-ndjson" } else { "application/json" };
            sent = sent.header(CONTENT_TYPE, kind).body(body.clone());
        }
        if request.gzipped {
            sent = sent.header(CONTENT_ENCODING, "gzip");
        }
        let answered = match sent.send().await {
            Ok(response) => {
                let status = response.status().as_u16();
                response.bytes().await.map(|bytes| (status, bytes))
            }
            Err(error) => Err(error),
        };
        match answered {
            Ok(answer) => {
                if host.dead_since.is_some() {
                    self.note(&host.shown, None);
                }
                Ok(answer)
            }
            Err(error) => {
                self.note(&host.shown, Some(Instant::now()));
                Err(format!("ask {}: {}", host.shown, chain(&error.without_url())))
            }
        }
    }
}

impl Hosts {
    /// The servers in the order in which they are asked; those that do not answer only when there are no others.
    fn order(&self, now: Instant, resurrect_after: Duration) -> Vec<usize> {
        let count = self.all.len().max(1);
        let all: Vec<usize> = (0..self.all.len()).map(|n| self.turn.wrapping_add(n) % count).collect();
        let is_alive =
            |nth: &usize| self.all.get(*nth).is_some_and(|host| host.is_alive(now, resurrect_after));
        let alive: Vec<usize> = all.iter().copied().filter(is_alive).collect();
        if alive.is_empty() { all } else { alive }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cluster(hosts: &[&str]) -> Cluster {
        // Another test of this process may have been first.
        let _again = rustls::crypto::ring::default_provider().install_default();
        let hosts = hosts.iter().map(|host| Host::at(host, false, Some("/es/")).unwrap()).collect();
        let manners = Manners {
            resurrect_after: Duration::from_secs(5),
            health_path: "/".to_owned(),
            parameters: vec![("a b".to_owned(), "&".to_owned())],
            sniff: None,
        };
        Cluster::of(Arc::new(Client::new()), hosts, manners)
    }

    #[test]
    fn hosts_may_be_written_in_many_ways() {
        for (text, tls, shown) in [
            ("es-1", false, "http://es-1:9200/"),
            ("es-1:9201", false, "http://es-1:9201/"),
            ("es-1", true, "https://es-1:9200/"),
            ("//es-1", false, "http://es-1:9200/"),
            ("https://es-1", false, "https://es-1:9200/"),
            ("https://es-1:443/es", false, "https://es-1/es"),
            ("http://es-1:80", false, "http://es-1/"),
            ("https://me:p%40ss@es-1", false, "https://es-1:9200/"),
            ("[::1]:9200", false, "http://[::1]:9200/"),
        ] {
            let host = Host::at(text, tls, None).unwrap();
            assert_eq!(host.shown, shown, "{text}");
            assert!(!format!("{:?}", host.authorization).contains("ss"), "{text}");
        }
        assert!(Host::at("ftp://es-1", false, None).is_err());
        assert!(Host::at("http://", false, None).is_err());
    }

    #[test]
    fn servers_that_do_not_answer_are_left_out_for_a_while() {
        let cluster = cluster(&["a", "b", "c"]);
        let now = Instant::now();
        let order = |now| cluster.hosts().order(now, cluster.manners.resurrect_after);
        cluster.hosts().turn = 1;
        assert_eq!(order(now), [1, 2, 0]);
        cluster.hosts().all[2].dead_since = Some(now);
        assert_eq!(order(now), [1, 0]);
        assert_eq!(order(now + Duration::from_secs(5)), [1, 2, 0]);
        cluster.hosts().all.iter_mut().for_each(|host| host.dead_since = Some(now));
        assert_eq!(order(now), [1, 2, 0], "all are asked when none is left");
    }

    #[test]
    fn whoever_asks_next_begins_with_another_server_while_the_first_is_asked() {
        let cluster = cluster(&["a", "b", "c"]);
        let first = || cluster.next(Instant::now())[0].shown.clone();
        let firsts: Vec<String> = (0..4).map(|_| first()).collect();
        assert_eq!(firsts, ["http://a:9200/es", "http://b:9200/es", "http://c:9200/es", "http://a:9200/es"]);
    }

    #[test]
    fn a_request_goes_below_the_path_with_all_parameters_and_secrets_are_not_shown() {
        let cluster = cluster(&["u:p%40@h:1", "https://h/own?x=1"]);
        let query = [("filter_path", "errors")];
        let request = Request { query: &query, ..Request::plain(Method::POST, "_bulk") };
        let hosts = cluster.hosts();
        let url = |nth: usize| hosts.all[nth].url(&request, &cluster.manners.parameters).to_string();
        assert_eq!(url(0), "http://h:1/es/_bulk?filter_path=errors&a+b=%26");
        assert_eq!(url(1), "https://h:9200/own/_bulk?x=1&filter_path=errors&a+b=%26");
        assert_eq!(hosts.all[0].shown, "http://h:1/es");
        assert_eq!(hosts.all[0].authorization.as_ref().unwrap(), &basic("u", "p@").unwrap());
    }

    #[test]
    fn a_cloud_id_names_a_server() {
        let id = |text: &str| cloud_url(&format!("name:{}", BASE64.encode(text)));
        assert_eq!(id("example.org$abc$def").unwrap(), "https://abc.example.org:443");
        assert_eq!(id("example.org:9243$abc$def").unwrap(), "https://abc.example.org:9243");
        assert_eq!(id("example.org$abc:9244$def").unwrap(), "https://abc.example.org:9244");
        for wrong in ["", "$abc", "host", "host$", "host:x$abc"] {
            assert!(id(wrong).is_err(), "{wrong}");
        }
        assert!(cloud_url("name:%%%").is_err());
    }
}
