//! What is measured.
use crate::corpus::{self, Kind};
use crate::figures::Figure;
use crate::process::{Program, Used, spawn, wait_until};
use crate::sink;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// What scenarios are measured with.
pub struct Stage {
    pub corpora: PathBuf,
    pub scratch: PathBuf,
    pub program: PathBuf,
    /// The size of the logs that are read.
    pub mb: usize,
    /// How often each is measured; the median counts.
    pub rounds: usize,
}

/// Something to measure.
pub struct Scenario {
    pub name: &'static str,
    pub what: &'static str,
    pub measure: fn(&Stage) -> io::Result<Vec<Figure>>,
}

pub const SCENARIOS: &[Scenario] = &[
    Scenario { name: "limit", what: "cat and wc -l over access lines", measure: limit },
    Scenario {
        name: "file-null",
        what: "access lines to nowhere",
        measure: |s| throughput(s, Kind::Access, "", "", "null { }"),
    },
    Scenario {
        name: "grok-null",
        what: "access lines, COMBINEDAPACHELOG, to nowhere",
        measure: |s| throughput(s, Kind::Access, "", GROK, "null { }"),
    },
    Scenario {
        name: "grok-bulk",
        what: "access lines, COMBINEDAPACHELOG, to bulk requests",
        measure: |s| bulk(s, Kind::Access, "", GROK, ""),
    },
    Scenario {
        name: "grok-bulk-gzip",
        what: "the same, compressed",
        measure: |s| bulk(s, Kind::Access, "", GROK, "http_compression => true"),
    },
    Scenario {
        name: "json-bulk",
        what: "JSON lines to bulk requests",
        measure: |s| bulk(s, Kind::Json, "codec => json", "", ""),
    },
    Scenario {
        name: "multiline-null",
        what: "Java log with stack traces, joined, to nowhere",
        measure: |s| throughput(s, Kind::Java, MULTILINE, "", "null { }"),
    },
    Scenario {
        name: "thousand-files",
        what: "1,000 files with 10 lines a second each, to nowhere",
        measure: thousand_files,
    },
    Scenario { name: "idle", what: "one file in which nothing happens", measure: idle },
    Scenario {
        name: "latency",
        what: "from a line written to its bulk request, at 1 MB a second",
        measure: latency,
    },
    Scenario {
        name: "start",
        what: "from the start of the program to its first bulk request",
        measure: start,
    },
    Scenario {
        name: "two-cores",
        what: "grok-null with one processor and with two, by the clock",
        measure: |s| two_cores(s, 1, "null { }"),
    },
    Scenario {
        name: "two-cores-files",
        what: "the same, from several files",
        measure: |s| two_cores(s, 4, "null { }"),
    },
    Scenario {
        name: "two-cores-bulk",
        what: "grok-bulk with one processor and with two, by the clock; who takes it works there, too",
        measure: |s| {
            let (address, _requests) = sink::listen(false)?;
            two_cores(s, 1, &format!("elasticsearch {{ hosts => 'http://{address}' }}"))
        },
    },
];

const GROK: &str = r#"grok { match => { "message" => "%{COMBINEDAPACHELOG}" } }"#;
const MULTILINE: &str = r#"codec => multiline { pattern => "^(\t|java\.)" what => "previous" }"#;

impl Stage {
    fn program(&self, processors: &str) -> Program {
        Program {
            path: self.program.clone(),
            scratch: self.scratch.clone(),
            processors: processors.to_owned(),
        }
    }

    fn log(&self, kind: Kind) -> io::Result<(PathBuf, f64)> {
        let path = corpus::log(&self.corpora, kind, self.mb)?;
        let size = fs::metadata(&path)?.len() as f64 / 1e6;
        // In the page cache, whatever else the machine does.
        io::copy(&mut File::open(&path)?, &mut io::sink())?;
        Ok((path, size))
    }

    /// The processor time that a program takes for a log.
    fn cpu_of(&self, program: &str, arguments: &[&str], log: &Path) -> io::Result<f64> {
        let round = || {
            let mut command = Command::new(program);
            command.args(arguments).arg(log);
            spawn(command)?.end()
        };
        self.median(|used| used.cpu_s, round).map(|used| used.cpu_s.max(0.01))
    }

    /// The round with the median of what `of` says.
    fn median(&self, of: fn(&Used) -> f64, mut round: impl FnMut() -> io::Result<Used>) -> io::Result<Used> {
        let mut all: Vec<Used> = (0..self.rounds).map(|_| round()).collect::<io::Result<_>>()?;
        all.sort_by(|a, b| of(a).total_cmp(&of(b)));
        all.get(all.len() / 2).copied().ok_or_else(|| io::Error::other("nothing was measured"))
    }
}

fn pipeline(path: &Path, input: &str, filters: &str, output: &str) -> String {
    let path = path.display();
    format!(
        "input {{ file {{ path => '{path}' mode => read sincedb_path => '/dev/null' {input} }} }} filter {{ {filters} }} output {{ {output} }}"
    )
}

/// What a program has used for a log of so many megabytes, and how many times what `cat` and `wc -l` use for it.
fn speeds(size: f64, used: Used, (cat_s, wc_s): (f64, f64)) -> Vec<Figure> {
    vec![
        Figure { what: "of processor time", value: size / used.cpu_s.max(0.01), unit: "MB/s" },
        Figure { what: "what `cat` takes", value: used.cpu_s / cat_s, unit: "times" },
        Figure { what: "what `wc -l` takes", value: used.cpu_s / wc_s, unit: "times" },
        Figure { what: "of time", value: size / used.wall_s, unit: "MB/s" },
        Figure { what: "most memory", value: used.peak_mb, unit: "MB" },
    ]
}

fn limit(stage: &Stage) -> io::Result<Vec<Figure>> {
    let (path, size) = stage.log(Kind::Access)?;
    let mut figures = Vec::new();
    for (what, program, arguments) in [("cat", "cat", &[][..]), ("wc -l", "wc", &["-l"][..])] {
        let cpu_s = stage.cpu_of(program, arguments, &path)?;
        figures.push(Figure { what, value: size / cpu_s, unit: "MB/s" });
    }
    Ok(figures)
}

fn throughput(
    stage: &Stage,
    kind: Kind,
    input: &str,
    filters: &str,
    output: &str,
) -> io::Result<Vec<Figure>> {
    let (path, size) = stage.log(kind)?;
    let config = pipeline(&path, input, filters, output);
    let used = stage.median(|used| used.cpu_s, || stage.program("0").run(&config)?.end())?;
    let limits = (stage.cpu_of("cat", &[], &path)?, stage.cpu_of("wc", &["-l"], &path)?);
    Ok(speeds(size, used, limits))
}

fn bulk(stage: &Stage, kind: Kind, input: &str, filters: &str, options: &str) -> io::Result<Vec<Figure>> {
    let (address, _requests) = sink::listen(false)?;
    throughput(
        stage,
        kind,
        input,
        filters,
        &format!("elasticsearch {{ hosts => 'http://{address}' {options} }}"),
    )
}

/// Reads a log, in so many files, with one processor and with two.
fn two_cores(stage: &Stage, files: usize, output: &str) -> io::Result<Vec<Figure>> {
    let (path, size) = stage.log(Kind::Access)?;
    let directory = stage.scratch.join("two-cores");
    let _new = fs::remove_dir_all(&directory);
    fs::create_dir_all(&directory)?;
    for nth in 0..files {
        // Files are told apart by their inodes: names of one file would not do.
        fs::copy(&path, directory.join(format!("{nth}.log")))?;
    }
    let size = size * files as f64;
    let config = pipeline(&directory.join("*.log"), "", GROK, output);
    let run =
        |processors: &str| stage.median(|used| used.wall_s, || stage.program(processors).run(&config)?.end());
    let (one, two) = (run("0")?, run("0,1")?);
    fs::remove_dir_all(&directory)?;
    Ok(vec![
        Figure { what: "one", value: size / one.wall_s, unit: "MB/s" },
        Figure { what: "two", value: size / two.wall_s, unit: "MB/s" },
        Figure { what: "times as fast", value: one.wall_s / two.wall_s, unit: "" },
        Figure { what: "processor time of two", value: two.cpu_s / one.cpu_s.max(0.01), unit: "times" },
    ])
}

/// Writes to 1,000 files for a while.
fn thousand_files(stage: &Stage) -> io::Result<Vec<Figure>> {
    const FILES: usize = 1000;
    const SECONDS: usize = 20;
    let directory = stage.scratch.join("many");
    fs::create_dir_all(&directory)?;
    let open =
        |nth: usize| File::options().append(true).create(true).open(directory.join(format!("{nth}.log")));
    let mut files: Vec<File> = (0..FILES).map(open).collect::<io::Result<_>>()?;
    let config = format!(
        "input {{ file {{ path => '{}/*.log' start_position => beginning }} }} output {{ null {{ }} }}",
        directory.display()
    );
    let program = stage.program("0").run(&config)?;
    let line = format!("{}\n", "x".repeat(199));
    let (begin, mut settled) = (Instant::now(), program.used());
    for tick in 0..SECONDS * 10 {
        if tick == 20 {
            settled = program.used();
        }
        for file in &mut files {
            file.write_all(line.as_bytes())?;
        }
        wait_until(begin + Duration::from_millis(100) * (tick as u32 + 1));
    }
    let used = program.used();
    program.kill()?;
    let share = (used.cpu_s - settled.cpu_s) / (used.wall_s - settled.wall_s);
    Ok(vec![
        Figure { what: "of one processor", value: share * 100.0, unit: "%" },
        Figure { what: "most memory", value: used.peak_mb, unit: "MB" },
    ])
}

fn idle(stage: &Stage) -> io::Result<Vec<Figure>> {
    let path = stage.scratch.join("idle.log");
    File::create(&path)?;
    let config =
        format!("input {{ file {{ path => '{}' }} }} output {{ elasticsearch {{ }} }}", path.display());
    let program = stage.program("").run(&config)?;
    wait_until(Instant::now() + Duration::from_secs(3));
    let (memory, before) = (program.resident_mb(), program.used());
    wait_until(Instant::now() + Duration::from_secs(5));
    let used = program.used();
    program.kill()?;
    Ok(vec![
        Figure { what: "memory", value: memory, unit: "MB" },
        Figure { what: "of one processor", value: (used.cpu_s - before.cpu_s) / 5.0 * 100.0, unit: "%" },
    ])
}

/// Nanoseconds since 1970.
fn clock() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos())
}

fn latency(stage: &Stage) -> io::Result<Vec<Figure>> {
    const SECONDS: usize = 10;
    let path = stage.scratch.join("latency.log");
    let mut file = File::create(&path)?;
    let (address, requests) = sink::listen(true)?;
    let config = format!(
        "input {{ file {{ path => '{}' start_position => beginning }} }} output {{ elasticsearch {{ hosts => 'http://{address}' }} }}",
        path.display()
    );
    let program = stage.program("0").run(&config)?;
    let rest = "x".repeat(170);
    let begin = Instant::now();
    // 1 MB a second: five lines of 200 bytes in each millisecond.
    for tick in 0..SECONDS * 1000 {
        let mut text = String::new();
        for _ in 0..5 {
            text.push_str(&format!("at={:020} {rest}\n", clock()));
        }
        file.write_all(text.as_bytes())?;
        let next = begin + Duration::from_millis(tick as u64 + 1);
        wait_until(next);
    }
    wait_until(Instant::now() + Duration::from_secs(2));
    let used = program.used();
    program.kill()?;
    let (now, now_ns) = (Instant::now(), clock());
    let mut delays = Vec::new();
    for request in requests.try_iter() {
        let arrived = now_ns.saturating_sub(now.duration_since(request.at).as_nanos());
        let body = String::from_utf8_lossy(&request.body);
        let written = body.split("at=").skip(1).filter_map(|rest| rest.get(..20)?.parse::<u128>().ok());
        delays.extend(written.map(|at| arrived.saturating_sub(at) as f64 / 1e6));
    }
    delays.sort_by(f64::total_cmp);
    let at = |share: usize| {
        delays.get((delays.len() * share / 1000).min(delays.len().saturating_sub(1))).copied().unwrap_or(0.0)
    };
    Ok(vec![
        Figure { what: "half of the lines within", value: at(500), unit: "ms" },
        Figure { what: "99 % of the lines within", value: at(990), unit: "ms" },
        Figure { what: "all within", value: at(1000), unit: "ms" },
        Figure { what: "lines that arrived", value: delays.len() as f64, unit: "of 50000" },
        Figure { what: "of one processor", value: used.cpu_s / used.wall_s * 100.0, unit: "%" },
    ])
}

fn start(stage: &Stage) -> io::Result<Vec<Figure>> {
    let path = stage.scratch.join("start.log");
    fs::write(&path, "one\n")?;
    let (address, requests) = sink::listen(false)?;
    let output = format!("elasticsearch {{ hosts => 'http://{address}' }}");
    let config = pipeline(&path, "", GROK, &output);
    let used = stage.median(
        |used| used.wall_s,
        || {
            let program = stage.program("").run(&config)?;
            let begin = program.begin();
            let first = requests.recv_timeout(Duration::from_secs(20)).map_err(io::Error::other)?;
            let first_s = first.at.duration_since(begin).as_secs_f64();
            Ok(Used { wall_s: first_s, ..program.end()? })
        },
    )?;
    Ok(vec![
        Figure { what: "after", value: used.wall_s * 1e3, unit: "ms" },
        Figure { what: "processor time of all", value: used.cpu_s * 1e3, unit: "ms" },
    ])
}
