//! Brings lines in.
pub(crate) mod file;
pub(crate) mod generator;
pub(crate) mod stdin;
