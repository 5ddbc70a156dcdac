//! Takes events away.
pub(crate) mod elasticsearch;
pub(crate) mod file;
pub(crate) mod null;
pub(crate) mod stdout;
