//! Everything a person may write, and what we say about it.
//!
//! - [`constraint`]: on which nodes executors run.
//! - [`document`]: the documents of the fleet: image configs ("docker"), host configs, revisions.
//! - [`image`]: image references, patterns over them, and which document applies to which image.
//! - [`examples`]: configurations to start from.
//! - [`diagnostic`]: problems in a text, with their place in it; rendered late, as text or JSON.
//! - [`settings`]: the settings of each process: command line over environment over file over built-in. The only place
//!   that reads the environment.
//!
//! What does not live here: the pipeline language (`pipeline`), who stores documents (`scheduler`), who shows them (`web`).

pub mod constraint;
pub mod diagnostic;
pub mod document;
pub mod examples;
pub mod image;
pub mod settings;
