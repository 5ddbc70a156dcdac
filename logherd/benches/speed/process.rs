//! Starts the program that is measured, and reads from /proc what it has used.
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How often a process is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// Clock ticks in a second, in which Linux counts CPU time for programs.
const TICKS_PER_S: f64 = 100.0;

/// A process that is measured.
pub struct Measured {
    child: Child,
    begin: Instant,
}

/// What a process has used.
#[derive(Clone, Copy, Debug, Default)]
pub struct Used {
    /// Of all its threads, in user and kernel mode.
    pub cpu_s: f64,
    pub wall_s: f64,
    /// The most memory that it had.
    pub peak_mb: f64,
}

/// How the program is started.
pub struct Program {
    pub path: PathBuf,
    /// Where it keeps its data; a new directory for each start.
    pub scratch: PathBuf,
    /// The processors that it may use, as `taskset` takes them; all if empty.
    pub processors: String,
}

impl Program {
    /// Starts a pipeline.
    pub fn run(&self, config: &str) -> io::Result<Measured> {
        let data = self.scratch.join("data");
        let _new = fs::remove_dir_all(&data);
        let mut command = match self.processors.as_str() {
            "" => Command::new(&self.path),
            some => {
                let mut command = Command::new("taskset");
                command.args(["-c", some]).arg(&self.path);
                command
            }
        };
        command.args(["run", "-e", config, "--data-dir"]).arg(data);
        spawn(command)
    }
}

/// Lets time pass.
pub fn wait_until(at: Instant) {
    while let Some(left) = at.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
        std::thread::park_timeout(left);
    }
}

/// Starts a command.
pub fn spawn(mut command: Command) -> io::Result<Measured> {
    let begin = Instant::now();
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    Ok(Measured { child, begin })
}

impl Measured {
    /// Since when it runs.
    pub fn begin(&self) -> Instant {
        self.begin
    }

    /// What it has used so far.
    pub fn used(&self) -> Used {
        let proc = Path::new("/proc").join(self.child.id().to_string());
        let stat = fs::read_to_string(proc.join("stat")).unwrap_or_default();
        Used {
            cpu_s: cpu_s(&stat),
            wall_s: self.begin.elapsed().as_secs_f64(),
            peak_mb: status(&proc, "VmHWM:"),
        }
    }

    /// The memory that it has now, in MB.
    pub fn resident_mb(&self) -> f64 {
        status(&Path::new("/proc").join(self.child.id().to_string()), "VmRSS:")
    }

    /// Waits for its end; an error if it failed.
    pub fn end(mut self) -> io::Result<Used> {
        let mut peak_mb = 0.0_f64;
        loop {
            let used = self.used();
            peak_mb = peak_mb.max(used.peak_mb);
            if self.is_over() {
                // Dead and not buried: its account is complete.
                let used = Used { peak_mb, ..self.used() };
                let status = self.child.wait()?;
                return if status.success() {
                    Ok(used)
                } else {
                    Err(io::Error::other(format!("the program ended with {status}")))
                };
            }
            wait_until(Instant::now() + LOOK_EVERY);
        }
    }

    fn is_over(&self) -> bool {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap_or_default();
        fields(&stat).first() == Some(&"Z")
    }

    /// Ends it.
    pub fn kill(mut self) -> io::Result<()> {
        self.child.kill()?;
        self.child.wait().map(|_| ())
    }
}

/// The fields of /proc/PID/stat behind the name of the program, which may hold blanks.
fn fields(stat: &str) -> Vec<&str> {
    stat.rsplit_once(')').map(|(_, rest)| rest.split_whitespace().collect()).unwrap_or_default()
}

fn cpu_s(stat: &str) -> f64 {
    let fields = fields(stat);
    let ticks = |nth: usize| fields.get(nth).and_then(|f| f.parse::<f64>().ok()).unwrap_or(0.0);
    (ticks(11) + ticks(12)) / TICKS_PER_S
}

fn status(proc: &Path, name: &str) -> f64 {
    let text = fs::read_to_string(proc.join("status")).unwrap_or_default();
    let kib = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.trim().strip_suffix(" kB")?.parse::<f64>().ok());
    kib.unwrap_or(0.0) * 1024.0 / 1e6
}
