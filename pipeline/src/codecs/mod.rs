//! Turns lines into events and events into bytes: one codec in each file.
pub(crate) mod json;
pub(crate) mod json_lines;
pub(crate) mod line;
pub(crate) mod plain;
pub(crate) mod rubydebug;
