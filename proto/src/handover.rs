//! Holds the word by which an executor tells its scheduler that it is up and waits for the one before it on its node.

/// The `data` of a TASK_STARTING whose executor is up, and waits until another one lets go of the data that it is to go on
/// with. RUNNING follows when it has them.
pub const WAITS: &[u8] = b"logherd: waits for the executor before it";
