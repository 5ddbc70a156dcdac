//! Tests that need more than one module: recorded exchanges, laws of the cores, and real processes over real HTTP.

mod client;
mod http;
mod laws;
mod processes;
mod recorded;
mod world;
