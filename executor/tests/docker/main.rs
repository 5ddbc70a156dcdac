//! Runs the executor against a real Docker daemon, with an agent and a scheduler made for the test.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test says what is wrong by panicking"
)]

mod killed;
mod streaming;
mod trouble;
mod world;
