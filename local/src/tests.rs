//! Tests that need more than one module: recorded exchanges, laws of the cores, and real processes over real HTTP.

mod client;
mod guest;
mod http;
mod laws;
mod maintenance;
mod processes;
mod recorded;
mod world;
