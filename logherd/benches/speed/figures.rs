//! Shows figures beside those of the run before, and keeps them for the next.
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::PathBuf;

/// A figure with its unit.
pub struct Figure {
    pub what: &'static str,
    pub value: f64,
    pub unit: &'static str,
}

/// The figures of all runs so far.
pub struct Figures {
    path: PathBuf,
    known: BTreeMap<String, f64>,
}

impl Figures {
    /// Reads what was kept; a file that is missing holds nothing.
    pub fn open(path: PathBuf) -> io::Result<Self> {
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(error),
        };
        let entry = |line: &str| {
            let (name, value) = line.rsplit_once(' ')?;
            Some((name.to_owned(), value.parse().ok()?))
        };
        Ok(Self { path, known: text.lines().filter_map(entry).collect() })
    }

    /// Shows the figures of a scenario and keeps them.
    pub fn tell(&mut self, scenario: &str, what: &str, figures: &[Figure]) -> io::Result<()> {
        println!("{scenario}: {what}");
        for Figure { what, value, unit } in figures {
            let before = self.known.insert(format!("{scenario} {what}"), *value);
            let compared = match before {
                Some(before) if before > 0.0 => {
                    format!("{before:>10.1} before, {:+.1} %", (value / before - 1.0) * 100.0)
                }
                _ => String::new(),
            };
            println!("    {what:28} {value:>10.1} {unit:12} {compared}");
        }
        let lines: Vec<String> = self.known.iter().map(|(name, value)| format!("{name} {value}\n")).collect();
        if let Some(directory) = self.path.parent() {
            fs::create_dir_all(directory)?;
        }
        fs::write(&self.path, lines.concat())
    }
}
