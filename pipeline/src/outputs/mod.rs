//! Takes events away.
pub(crate) mod elasticsearch;
pub(crate) mod file;
pub(crate) mod graphite;
pub(crate) mod http;
pub(crate) mod influxdb;
pub(crate) mod kafka;
pub(crate) mod null;
pub(crate) mod redis;
pub(crate) mod statsd;
pub(crate) mod stdout;
pub(crate) mod syslog;
pub(crate) mod tcp;
pub(crate) mod udp;
