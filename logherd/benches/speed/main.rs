//! Measures `logherd run` in megabytes of input per second of processor time: `tests/bench speed [NAME…] [--mb 200]
//! [--rounds 3] [--program PATH]`.
//!
//! Processor time (user and system, of the whole process) is what a log agent costs its machine, and it hardly depends on
//! what else the machine does. `cat` and `wc -l` over the same files show what can be reached at all. Each figure stands
//! beside that of the run before, which is kept in `target/speed/figures`.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a benchmark tells its figures to who started it"
)]
#![allow(missing_docs, unreachable_pub, reason = "a program of its own")]
mod corpus;
mod figures;
mod process;
mod scenarios;
mod sink;

use figures::Figures;
use scenarios::{SCENARIOS, Stage};
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

fn main() -> ExitCode {
    match measure() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("speed: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure() -> io::Result<()> {
    let mut names: Vec<String> = Vec::new();
    let (mut mb, mut rounds, mut program) = (200, 3, PathBuf::from(env!("CARGO_BIN_EXE_logherd")));
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut number = |name: &str| {
            let given = arguments.next().and_then(|text| text.parse::<usize>().ok());
            given.filter(|n| *n > 0).ok_or_else(|| io::Error::other(format!("{name} wants a number")))
        };
        match argument.as_str() {
            // What cargo adds.
            "--bench" => {}
            "--mb" => mb = number("--mb")?,
            "--rounds" => rounds = number("--rounds")?,
            "--program" => program = arguments.next().map(PathBuf::from).unwrap_or_default(),
            name if SCENARIOS.iter().any(|s| s.name == name) => names.push(name.to_owned()),
            other => {
                let known: Vec<&str> = SCENARIOS.iter().map(|s| s.name).collect();
                return Err(io::Error::other(format!("`{other}` is none of: {}", known.join(", "))));
            }
        }
    }
    let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("speed");
    let scratch = tempfile::tempdir()?;
    let stage =
        Stage { corpora: directory.join("logs"), scratch: scratch.path().to_owned(), program, mb, rounds };
    let mut figures = Figures::open(directory.join("figures"))?;
    for scenario in SCENARIOS {
        if names.is_empty() || names.iter().any(|name| name == scenario.name) {
            figures.tell(scenario.name, scenario.what, &(scenario.measure)(&stage)?)?;
        }
    }
    Ok(())
}
