//! Brings messages in.
pub(crate) mod file;
pub(crate) mod generator;
pub(crate) mod heartbeat;
pub(crate) mod stdin;
pub(crate) mod udp;
