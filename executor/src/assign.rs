//! Decides which pipelines are wanted: documents, containers and host in, wanted pipelines out.
//!
//! For each running container there is at most one pipeline: that of the most specific docker config whose name matches
//! the container's image, with the filters and outputs of every host config behind it. There is one host pipeline when a
//! host config has inputs. A pipeline whose texts did not change has the same hash, and is left alone.
use crate::assignment::Assignment;
use crate::containers::Container;
use config::diagnostic::Severity;
use config::document::{Key, Kind, Revision};
use pipeline::{Plan, Scope};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What a pipeline is for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum UnitId {
    /// The inputs of the host configs.
    Host,
    /// A container, by its full id.
    Container(String),
}

/// Identifies the texts that a pipeline is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hash(pub(crate) [u8; 32]);

/// A pipeline that should run.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    /// The texts it is made of.
    pub(crate) hash: Hash,
    /// The docker config that applies; `None` for the host pipeline.
    pub(crate) config: Option<Key>,
    /// What to run; `Err` says why nothing can run.
    pub(crate) parts: Result<Parts, String>,
}

/// The plans that make up a pipeline.
#[derive(Clone, Debug)]
pub(crate) struct Parts {
    docker: Option<Arc<Plan>>,
    hosts: Arc<Vec<Plan>>,
}

impl Parts {
    /// Joins them.
    pub(crate) fn plan(&self) -> Plan {
        Plan::joined(self.docker.as_deref().cloned(), &self.hosts)
    }
}

/// A document that could not be applied.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Failure {
    /// Which one.
    pub(crate) key: Key,
    /// Why.
    pub(crate) reason: String,
}

/// The documents in force: the newest text of each that could be compiled.
#[derive(Debug, Default)]
pub(crate) struct Documents {
    revision: Revision,
    good: BTreeMap<Key, Good>,
    /// Documents whose newest text cannot be used, with why.
    broken: BTreeMap<Key, String>,
    hosts: Arc<Vec<Plan>>,
    /// Stands for the texts of all host configs.
    hosts_digest: [u8; 32],
}

#[derive(Debug)]
struct Good {
    text: String,
    digest: [u8; 32],
    plan: Arc<Plan>,
}

impl Documents {
    /// Takes a newer assignment. A document whose text cannot be compiled keeps its last good text and is named in
    /// [`Documents::failures`].
    pub(crate) fn update(&mut self, assignment: &Assignment, env: &dyn Fn(&str) -> Option<String>) {
        self.revision = assignment.revision;
        self.broken.clear();
        self.good.retain(|key, _| assignment.documents.contains_key(key));
        for (key, document) in &assignment.documents {
            if self.good.get(key).is_some_and(|good| good.text == document.text) {
                continue;
            }
            let scope = match key.kind {
                Kind::Docker => Scope::Docker,
                Kind::Host => Scope::Host,
            };
            match pipeline::compile(scope, &document.text, env) {
                Ok(plan) => {
                    let digest = digest(&[&key.name, &document.text]);
                    let good = Good { text: document.text.clone(), digest, plan: Arc::new(plan) };
                    self.good.insert(key.clone(), good);
                }
                Err(problems) => {
                    let errors: Vec<_> = problems
                        .iter()
                        .filter(|p| p.severity == Severity::Error)
                        .map(|p| format!("line {}, column {}: {}", p.line, p.column, p.message))
                        .collect();
                    self.broken.insert(key.clone(), errors.join("; "));
                }
            }
        }
        let hosts: Vec<&Good> =
            self.good.iter().filter(|(key, _)| key.kind == Kind::Host).map(|(_, good)| good).collect();
        let mut hasher = Sha256::new();
        hosts.iter().for_each(|good| hasher.update(good.digest));
        self.hosts_digest = hasher.finalize().into();
        self.hosts = Arc::new(hosts.into_iter().map(|good| (*good.plan).clone()).collect());
    }

    /// The revision of the last assignment taken.
    pub(crate) fn revision(&self) -> Revision {
        self.revision
    }

    /// The documents that could not be applied.
    pub(crate) fn failures(&self) -> Vec<Failure> {
        let failure = |(key, reason): (&Key, &String)| Failure { key: key.clone(), reason: reason.clone() };
        self.broken.iter().map(failure).collect()
    }

    /// The docker config that applies to an image, and those that it shadows.
    pub(crate) fn applicable(&self, image: &str) -> Option<Key> {
        let keys = self.good.keys().chain(self.broken.keys()).filter(|key| key.kind == Kind::Docker);
        let first = config::image::applicable(keys.map(|key| key.name.as_str()), image).into_iter().next()?;
        Some(Key { kind: Kind::Docker, name: first.to_owned() })
    }

    /// The pipeline wanted for a container of this image; `None` when no docker config applies.
    pub(crate) fn for_image(&self, image: &str) -> Option<Wanted> {
        let key = self.applicable(image)?;
        let hash = self.hash(Some(&key));
        let parts = match self.good.get(&key) {
            None => {
                Err(format!("its config is broken: {}", self.broken.get(&key).map_or("", |r| r.as_str())))
            }
            Some(good) if !good.plan.has_inputs() => Err(format!("{key} has no input")),
            Some(good) if !good.plan.has_outputs() && !self.a_host_has_outputs() => Err(NO_OUTPUT.to_owned()),
            Some(good) => Ok(Parts { docker: Some(good.plan.clone()), hosts: self.hosts.clone() }),
        };
        Some(Wanted { hash, config: Some(key), parts })
    }

    /// The pipeline wanted for the host; `None` when no host config has an input.
    pub(crate) fn for_host(&self) -> Option<Wanted> {
        if !self.hosts.iter().any(Plan::has_inputs) {
            return None;
        }
        let parts = if self.a_host_has_outputs() {
            Ok(Parts { docker: None, hosts: self.hosts.clone() })
        } else {
            Err(NO_OUTPUT.to_owned())
        };
        Some(Wanted { hash: self.hash(None), config: None, parts })
    }

    fn a_host_has_outputs(&self) -> bool {
        self.hosts.iter().any(Plan::has_outputs)
    }

    fn hash(&self, docker: Option<&Key>) -> Hash {
        let mut hasher = Sha256::new();
        if let Some(key) = docker {
            hasher.update(match self.good.get(key) {
                Some(good) => good.digest,
                // It changes with the complaint, so that the complaint shown is the newest.
                None => digest(&[&key.name, self.broken.get(key).map_or("", |reason| reason.as_str())]),
            });
        }
        hasher.update(self.hosts_digest);
        Hash(hasher.finalize().into())
    }
}

fn digest(texts: &[&str]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    for text in texts {
        hasher.update((text.len() as u64).to_le_bytes());
        hasher.update(text);
    }
    hasher.finalize().into()
}

const NO_OUTPUT: &str = "no output: a host config with an output is needed";

/// Everything that is wanted now: the host pipeline, and that of each container that runs and matches.
pub(crate) fn wanted(
    documents: &Documents,
    containers: &BTreeMap<String, Container>,
) -> BTreeMap<UnitId, Wanted> {
    let host = documents.for_host().map(|wanted| (UnitId::Host, wanted));
    let running = containers.iter().filter(|(_, container)| container.running);
    running
        .filter_map(|(id, container)| {
            Some((UnitId::Container(id.clone()), documents.for_image(&container.image)?))
        })
        .chain(host)
        .collect()
}

#[cfg(test)]
mod tests;
