//! Ends the process with the exit status that tells what happened.
use crate::terminal;
use std::process::ExitCode;

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// All well.
    Fine = 0,
    /// Something failed while running.
    Failed = 1,
    /// The command line is wrong.
    Usage = 2,
    /// A configuration is wrong (`EX_CONFIG`).
    BadConfiguration = 78,
}

/// Makes an exit status of how a command ended; prints the whole chain of an error, once.
pub(crate) fn report(ended: anyhow::Result<Exit>, on_error: Exit) -> ExitCode {
    let exit = match ended {
        Ok(exit) => exit,
        Err(error) => {
            terminal::complain(&format!("error: failed to {error:#}"));
            on_error
        }
    };
    ExitCode::from(exit as u8)
}
