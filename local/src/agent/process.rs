//! Knows processes by number and start time, so that a number used again is never taken for the old process.

use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process_group};
use std::time::Duration;

/// The main process of a container; also its process group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Process {
    pub(crate) pid: u32,
    /// In clock ticks since the machine started, as `/proc` says; zero when it could not be read.
    pub(crate) started: u64,
}

/// Raw wait status of a process killed with SIGKILL.
pub(crate) const KILLED: i32 = 9;
/// Raw wait status that Mesos reports for a command that cannot be executed.
pub(crate) const CANNOT_EXECUTE: i32 = 256_256;
/// How an ended process is reported that was not our child.
pub(crate) const UNKNOWN: i32 = -1;

impl Process {
    /// The process that has this number now.
    pub(crate) fn with_pid(pid: u32) -> Self {
        Self { pid, started: stat(pid).map(|stat| stat.started).unwrap_or_default() }
    }

    /// Whether it still runs; a zombie does not.
    pub(crate) fn is_alive(self) -> bool {
        stat(self.pid).is_some_and(|stat| stat.started == self.started && !stat.ended)
    }

    /// Kills the process and everything in its group.
    pub(crate) fn kill_group(self) {
        let Some(pid) = i32::try_from(self.pid).ok().and_then(Pid::from_raw) else { return };
        match kill_process_group(pid, Signal::KILL) {
            Ok(()) | Err(Errno::SRCH) => {}
            Err(error) => tracing::warn!(pid = self.pid, %error, "cannot kill a container"),
        }
    }

    /// Waits until it has ended, whoever's child it is: looks ten times a second, since only a parent is told.
    pub(crate) async fn ended(self) {
        let mut pause = tokio::time::interval(Duration::from_millis(100));
        while self.is_alive() {
            pause.tick().await;
        }
    }
}

struct Stat {
    started: u64,
    ended: bool,
}

fn stat(pid: u32) -> Option<Stat> {
    parse_stat(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// State is field 3 and start time field 22; field 2 is a name in parentheses that may hold anything.
fn parse_stat(text: &str) -> Option<Stat> {
    let (_, rest) = text.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace();
    let state = fields.next()?;
    let started = fields.nth(18)?.parse().ok()?;
    Some(Stat { started, ended: matches!(state, "Z" | "X" | "x") })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn this_process_is_alive_and_another_start_time_is_another_process() {
        let own = Process::with_pid(std::process::id());
        assert!(own.started > 0 && own.is_alive());
        assert!(!Process { started: own.started + 1, ..own }.is_alive());
    }

    #[tokio::test]
    async fn the_end_of_a_process_is_noticed() {
        let mut child = tokio::process::Command::new("/bin/sh")
            .args(["-c", "read x"])
            .stdin(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let process = Process::with_pid(child.id().unwrap());
        assert!(process.is_alive());
        drop(child.stdin.take());
        tokio::time::timeout(Duration::from_secs(5), process.ended()).await.unwrap();
        child.wait().await.unwrap();
        assert!(!process.is_alive());
    }

    proptest! {
        #[test]
        fn any_name_of_a_program_is_read_over(name in "[ -~]{0,16}", start in 1_u64..) {
            let text = format!("7 ({name}) S 1 {} {start} 0", "0 ".repeat(17));
            let stat = parse_stat(&text).unwrap();
            prop_assert_eq!(stat.started, start);
            prop_assert!(!stat.ended);
        }

        #[test]
        fn anything_else_is_refused_or_read(text in "\\PC*") {
            parse_stat(&text);
        }
    }
}
