//! Turns messages into events and events into bytes: one codec in each file.
pub(crate) mod csv;
pub(crate) mod dots;
pub(crate) mod fluent;
pub(crate) mod graphite;
pub(crate) mod json;
pub(crate) mod json_lines;
pub(crate) mod line;
pub(crate) mod msgpack;
pub(crate) mod multiline;
pub(crate) mod plain;
pub(crate) mod rubydebug;
