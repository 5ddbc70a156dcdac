//! Holds the shipped examples: configurations to start from.
use crate::document::Kind;

/// A configuration to start from.
#[derive(Clone, Copy, Debug)]
pub struct Example {
    /// What it is an example of.
    pub kind: Kind,
    /// What it does, in a few words.
    pub title: &'static str,
    /// A name to start from.
    pub name: &'static str,
    /// The configuration.
    pub text: &'static str,
}

/// All examples, simplest first.
pub const EXAMPLES: [Example; 6] = [
    Example {
        kind: Kind::Docker,
        title: "Access log of a web server",
        name: "nginx",
        text: include_str!("../examples/docker/access-log.conf"),
    },
    Example {
        kind: Kind::Docker,
        title: "JSON lines",
        name: "team/app",
        text: include_str!("../examples/docker/json-lines.conf"),
    },
    Example {
        kind: Kind::Docker,
        title: "Plain lines, several files",
        name: "team/*",
        text: include_str!("../examples/docker/plain-lines.conf"),
    },
    Example {
        kind: Kind::Host,
        title: "Everything to a file per day",
        name: "to-file",
        text: include_str!("../examples/host/to-file.conf"),
    },
    Example {
        kind: Kind::Host,
        title: "Everything to Elasticsearch",
        name: "to-elasticsearch",
        text: include_str!("../examples/host/to-elasticsearch.conf"),
    },
    Example {
        kind: Kind::Host,
        title: "The node's own log, to standard output",
        name: "system-log",
        text: include_str!("../examples/host/system-log.conf"),
    },
];
