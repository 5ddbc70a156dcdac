//! The framework's scheduler.
pub mod core;
pub mod ensemble;
pub mod ids;
pub mod state;
