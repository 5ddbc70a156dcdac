//! Asks a cluster which servers it has.
use super::{Cluster, Host, Hosts, Request};
use reqwest::Method;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use tracing::{info, warn};

/// How a cluster is asked for its servers.
#[derive(Clone, Debug)]
pub(crate) struct Sniff {
    /// What is asked for, below each server.
    pub(crate) path: String,
    /// How often.
    pub(crate) every: Duration,
    /// The servers that are known without asking; they are asked again when no other one answers.
    pub(super) seeds: Vec<Host>,
}

impl Sniff {
    /// Asks for this, so often.
    pub(crate) fn new(path: String, every: Duration) -> Self {
        Self { path, every, seeds: Vec::new() }
    }
}

/// What a cluster says of its nodes.
#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    nodes: BTreeMap<String, Node>,
}

#[derive(Deserialize)]
struct Node {
    #[serde(default)]
    roles: Vec<String>,
    #[serde(default)]
    http: Option<Http>,
}

#[derive(Deserialize)]
struct Http {
    publish_address: String,
}

/// Where the nodes are that take documents: all but those that are only masters.
fn addresses(answer: &[u8]) -> Result<Vec<String>, serde_json::Error> {
    let answer: Answer = serde_json::from_slice(answer)?;
    let nodes = answer.nodes.into_values().filter(|node| node.roles != ["master"]);
    Ok(nodes.filter_map(|node| Some(address(&node.http?.publish_address))).collect())
}

/// `name/address:port` and `address:port`, in brackets or not, are where a node is; the name counts, if there is one.
fn address(published: &str) -> String {
    let inner = published.strip_prefix("inet[").and_then(|rest| rest.strip_suffix(']')).unwrap_or(published);
    match inner.split_once('/') {
        Some(("", address)) => address.to_owned(),
        Some((name, address)) => match address.rsplit_once(':') {
            Some((_, port)) => format!("{name}:{port}"),
            None => name.to_owned(),
        },
        None => inner.to_owned(),
    }
}

impl Hosts {
    /// Goes on with these servers; what is known of those that were there stays.
    fn become_those(&mut self, mut all: Vec<Host>) {
        for host in &mut all {
            let known = self.all.iter().find(|known| known.shown == host.shown);
            host.dead_since = known.and_then(|known| known.dead_since);
        }
        self.all = all;
    }
}

impl Cluster {
    /// Asks for the servers if that was not done for long enough. A failure changes nothing.
    pub(super) async fn sniff_when_due(&self) {
        let Some(sniff) = &self.manners.sniff else { return };
        {
            let (mut hosts, now) = (self.hosts(), Instant::now());
            if hosts.sniffed.is_some_and(|at| now.duration_since(at) < sniff.every) {
                return;
            }
            hosts.sniffed = Some(now);
        }
        for host in self.next(Instant::now()) {
            let asked = self.ask_one(&host, &Request::plain(Method::GET, &sniff.path)).await;
            let why = match asked {
                Ok((200..=299, answer)) => match addresses(&answer) {
                    Ok(addresses) => return self.found(&addresses, sniff),
                    Err(error) => format!("its answer cannot be read: {error}"),
                },
                Ok((status, _)) => format!("it says {status}"),
                Err(why) => why,
            };
            warn!(host = %host.shown, why, "a server does not tell which servers the cluster has");
        }
    }

    fn found(&self, addresses: &[String], sniff: &Sniff) {
        let Some(seed) = sniff.seeds.first() else { return };
        let at = |address: &String| {
            let path = Some(seed.base.path());
            let host = Host::at(address, seed.speaks_tls(), path).ok()?;
            Some(Host { authorization: seed.authorization.clone(), ..host })
        };
        let found: Vec<Host> = addresses.iter().filter_map(at).collect();
        if found.is_empty() {
            warn!("the cluster names no servers; those that are known stay");
            return;
        }
        let mut hosts = self.hosts();
        let is_new = |host: &Host| !hosts.all.iter().any(|known| known.shown == host.shown);
        if found.len() != hosts.all.len() || found.iter().any(is_new) {
            info!(servers = found.len(), "the cluster has other servers than before");
        }
        hosts.become_those(found);
    }

    /// No server answers: those that were given are asked next, should the found ones be out of reach from here.
    pub(super) fn forget_sniffed(&self) {
        if let Some(sniff) = &self.manners.sniff {
            self.hosts().become_those(sniff.seeds.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn nodes_are_where_they_publish_themselves_but_for_those_that_are_only_masters() {
        let answer = br#"{"cluster_name":"c","nodes":{
            "a":{"roles":["data","master"],"http":{"publish_address":"10.0.0.1:9200"}},
            "b":{"roles":["master"],"http":{"publish_address":"10.0.0.2:9200"}},
            "c":{"roles":[],"http":{"publish_address":"es-3.example/10.0.0.3:9201"}},
            "d":{"http":{"publish_address":"inet[/10.0.0.4:9200]"}},
            "e":{"roles":["ingest"],"http":{"publish_address":"[::1]:9202"}},
            "f":{"roles":["data"]}}}"#;
        let expected = ["10.0.0.1:9200", "es-3.example:9201", "10.0.0.4:9200", "[::1]:9202"];
        assert_eq!(addresses(answer).unwrap(), expected);
        assert!(addresses(b"{}").unwrap().is_empty());
        assert!(addresses(b"<html>").is_err());
    }

    proptest! {
        #[test]
        fn any_address_is_read(text in "\\PC{0,20}") {
            let _address = address(&text);
        }
    }
}
