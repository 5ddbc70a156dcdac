//! Tests that need more than one module: recorded exchanges, laws of the cores, and real processes over real HTTP.

mod client;
mod drains;
mod faults;
mod gates;
mod guest;
mod http;
mod laws;
mod lives;
mod maintenance;
mod operations;
mod processes;
mod recorded;
mod refusals;
mod tokens;
mod world;
