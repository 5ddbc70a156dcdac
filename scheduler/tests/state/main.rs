//! Shows that every store keeps its promises, by one suite, and what only one of them can show.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test says what is wrong by panicking")]

mod directory;
mod server;
mod suite;
mod zookeeper;
