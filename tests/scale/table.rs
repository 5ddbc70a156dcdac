//! Prints the figures of all sizes side by side, and what each comes to per node.

use crate::measure::{Calls, Figures};
use std::time::Duration;

/// Prints one table.
pub(crate) fn print(columns: &[Figures]) {
    let row = |name: &str, figure: &dyn Fn(&Figures) -> String| {
        let cells: Vec<String> = columns.iter().map(|column| format!("{:>16}", figure(column))).collect();
        println!("{name:<58}{}", cells.join(""));
    };
    let seconds = |time: Duration| format!("{:.2} s", time.as_secs_f64());
    let millis = |time: Duration| format!("{} ms", time.as_millis());
    let two =
        |(median, worst): (Duration, Duration)| format!("{} / {} ms", median.as_millis(), worst.as_millis());
    let megabytes = |bytes: u64| format!("{:.0} MB", bytes as f64 / 1e6);
    let percent = |part: f64| format!("{:.1} %", part * 100.0);
    row("nodes", &|f| f.nodes.to_string());
    row("time until all run and are attached", &|f| seconds(f.all_run));
    row("  per node", &|f| format!("{:.2} ms", f.all_run.as_secs_f64() * 1e3 / f.nodes as f64));
    row("  processor time of the scheduler", &|f| seconds(f.all_run_cpu));
    row("  the same per node", &|f| format!("{:.2} ms", f.all_run_cpu.as_secs_f64() * 1e3 / f.nodes as f64));
    row("  offers accepted per second, first launch to last", &|f| format!("{:.0}", f.offers_per_second));
    let calls = |calls: Calls| format!("{} / {} / {}", calls.revive, calls.decline, calls.declined);
    row("  REVIVE / DECLINE / offers declined", &|f| calls(f.start_calls));
    row("scheduler at rest: of one processor", &|f| percent(f.rest_cpu));
    row("  per 1000 nodes", &|f| percent(f.rest_cpu * 1000.0 / f.nodes as f64));
    row("  reports per second", &|f| format!("{:.0}", f.reports_per_second));
    row("  resident", &|f| megabytes(f.rest_memory));
    row("  per node", &|f| format!("{:.1} kB", f.rest_memory as f64 / 1e3 / f.nodes as f64));
    row("an edit: last executor has it, median / worst", &|f| two(f.edit_received));
    row("  API says applied by all, median / worst", &|f| two(f.edit_acknowledged));
    row("churn of 1 % per minute: of one processor", &|f| percent(f.churn_cpu));
    row("  resident", &|f| megabytes(f.churn_memory));
    row("  REVIVE / DECLINE / offers declined", &|f| calls(f.churn_calls));
    row("  a new agent has its executor, worst", &|f| millis(f.churn_covered));
    row("most resident so far", &|f| megabytes(f.memory_peak));
    let leader = |f: &Figures, show: &dyn Fn((Duration, Duration, usize)) -> String| {
        f.leader.map_or("not measured".to_owned(), show)
    };
    row("kill -9 of the leader: another one leads after", &|f| leader(f, &|(leads, ..)| seconds(leads)));
    row("  all are attached to it after", &|f| leader(f, &|(_, attached, _)| seconds(attached)));
    row("  launched anew", &|f| leader(f, &|(.., anew)| anew.to_string()));
    row("  the new one was resident at most", &|f| megabytes(f.leader_memory));
    for n in 0..columns.iter().map(|column| column.answers.len()).min().unwrap_or(0) {
        let name = columns.first().map_or("", |column| column.answers[n].0);
        row(&format!("GET {name}"), &|f| {
            let (_, time, bytes) = f.answers[n];
            format!("{} ms, {} kB", time.as_millis(), bytes / 1000)
        });
    }
    row("machine busy with other things meanwhile", &|f| percent(f.others));
    row("load average at the end", &|f| format!("{:.1}", f.load));
}
