//! The framework's scheduler.
pub mod core;
pub mod ids;
