//! Measures what thousands of nodes cost: `cargo bench -p tests --bench scale [-- --nodes 1000,3000,10000]`.
//!
//! In this process: the embedded master, virtual agents on it, and virtual executors that attach to the control plane as
//! real ones do. The scheduler is the real one, in a process of its own, so that what it uses can be read in `/proc`. Its
//! state is in a real ZooKeeper where there is one (Debian's package): then a second scheduler stands by, and the leader
//! is killed; elsewhere the state is in a directory, and that part is left out, which is said.
//!
//! `crowd` starts all of it, `executors` plays the executors, `process` reads `/proc`, `measure` lets things happen and
//! takes the figures, `table` prints them.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a benchmark tells its figures to who started it"
)]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a benchmark that cannot go on ends")]

mod crowd;
mod executors;
mod measure;
mod process;
mod table;
mod zookeeper;

use std::path::PathBuf;
use std::time::Duration;

/// What is wanted.
#[derive(Clone)]
struct Wanted {
    /// How many nodes, one run for each.
    sizes: Vec<usize>,
    /// What goes on on each node.
    load: executors::Load,
    /// How long it is watched at rest, and under churn.
    watch: Duration,
    /// The program under test.
    logherd: PathBuf,
    /// Where runs leave their logs; else nowhere.
    keep: Option<PathBuf>,
}

fn main() {
    let wanted = wanted();
    rustls::crypto::ring::default_provider().install_default().ok();
    process::raise_open_files();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let mut columns = Vec::new();
    for &size in &wanted.sizes {
        eprintln!("{size} nodes …");
        columns.push(runtime.block_on(measure::measure(size, &wanted)));
    }
    table::print(&columns);
}

fn wanted() -> Wanted {
    let beside = std::env::current_exe().unwrap().ancestors().nth(2).unwrap().join("logherd");
    let mut wanted = Wanted {
        sizes: vec![1000, 3000, 10_000],
        load: executors::Load { containers: 10, busy: 3 },
        watch: Duration::from_secs(60),
        logherd: beside,
        keep: None,
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let mut value = || arguments.next().unwrap_or_else(|| panic!("{name} needs a value"));
        match name.as_str() {
            "--nodes" => wanted.sizes = value().split(',').map(|size| size.parse().unwrap()).collect(),
            "--containers" => wanted.load.containers = value().parse().unwrap(),
            "--busy" => wanted.load.busy = value().parse().unwrap(),
            "--watch" => wanted.watch = Duration::from_secs(value().parse().unwrap()),
            "--logherd" => wanted.logherd = value().into(),
            "--keep" => wanted.keep = Some(value().into()),
            // What cargo adds.
            "--bench" => {}
            other => {
                panic!(
                    "unknown: {other}; there are --nodes, --containers, --busy, --watch, --logherd and --keep"
                )
            }
        }
    }
    assert!(
        wanted.logherd.exists(),
        "{} is missing; cargo build --release -p logherd",
        wanted.logherd.display()
    );
    wanted
}
