//! Tells what Logherd does from the outside: the real binary, the real wire, real Docker, a real browser.
//!
//! A story starts `logherd` as child processes in a directory of its own, does to it what a person or a bad day would do,
//! and looks at what a person would look at: the REST API, the page, the files that come out. Nothing sleeps: a story waits
//! for a state with a deadline ([`eventually`]). A story that needs Docker, Chromium or a server of somebody else where there
//! is none says so loudly and is skipped; with `CI=true` that is a failure.
//!
//! The binary is built if need be into the target directory that the test was built in; `LOGHERD_BIN` names another one.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::panic,
    reason = "a story ends by panicking"
)]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "what a story measured is printed")]

mod api;
mod certificates;
mod docker;
mod ensemble;
mod eventually;
mod faults;
mod links;
mod output;
mod service;
mod world;

mod beats;
mod containers;
mod coverage;
mod edits;
mod exits;
mod graphite;
mod image;
mod influxdb;
mod kafka;
mod leaders;
mod letters;
mod lines;
mod nodes;
mod page;
mod prior_failures;
#[path = "../../scheduler/tests/state/proxy.rs"]
mod proxy;
mod ready;
mod redis;
mod requests;
mod reservations;
mod rotation;
mod rsyslog;
mod search;
mod sockets;
mod statsd;
mod survive;
mod system;
mod teardown;
mod tls;
mod upgrade;
