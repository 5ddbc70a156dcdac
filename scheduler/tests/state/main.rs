//! Shows that every store keeps its promises, by one suite, and what only a real ZooKeeper can show.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "a test says what is wrong by panicking"
)]

mod client;
mod directory;
mod election;
mod leader;
mod proxy;
mod server;
mod suite;
mod zookeeper;
