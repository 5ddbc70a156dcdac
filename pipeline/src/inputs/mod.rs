//! Brings messages in.
pub(crate) mod beats;
pub(crate) mod dead_letter_queue;
pub(crate) mod file;
pub(crate) mod generator;
pub(crate) mod heartbeat;
pub(crate) mod http;
pub(crate) mod redis;
pub(crate) mod stdin;
pub(crate) mod syslog;
pub(crate) mod tcp;
pub(crate) mod udp;
pub(crate) mod unix;
