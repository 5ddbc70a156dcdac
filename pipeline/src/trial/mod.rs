//! Tries plugins as configurations name them; for tests.
pub(crate) mod certificates;
pub(crate) mod codecs;
pub(crate) mod inputs;
