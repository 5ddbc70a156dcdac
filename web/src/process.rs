//! Reads what the system knows about this process, for the metrics.

/// What this process uses.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Usage {
    /// Resident memory.
    pub(crate) resident_bytes: u64,
    /// User and system time.
    pub(crate) cpu_seconds: f64,
    /// Open file descriptors.
    pub(crate) open_files: u64,
}

/// Linux counts processor time for programs in hundredths of a second, whatever the machine.
const TICKS_PER_SECOND: f64 = 100.0;

/// Reads `/proc/self`; what cannot be read is 0.
pub(crate) fn usage() -> Usage {
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    Usage {
        resident_bytes: resident_bytes(&read("/proc/self/status")),
        cpu_seconds: cpu_seconds(&read("/proc/self/stat")),
        open_files: std::fs::read_dir("/proc/self/fd").map_or(0, |entries| entries.count() as u64),
    }
}

fn resident_bytes(status: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|rest| rest.split_whitespace().next()).and_then(|n| n.parse::<u64>().ok());
    kib.unwrap_or(0).saturating_mul(1024)
}

fn cpu_seconds(stat: &str) -> f64 {
    // The second field is the program's name in parentheses, which may hold anything.
    let Some((_, after_name)) = stat.rsplit_once(')') else { return 0.0 };
    let mut fields = after_name.split_whitespace().skip(11).map(|f| f.parse::<f64>().unwrap_or(0.0));
    (fields.next().unwrap_or(0.0) + fields.next().unwrap_or(0.0)) / TICKS_PER_SECOND
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_found_behind_any_program_name() {
        let stat = "7 (a) b (c)) S 1 7 7 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 5 0 100 1000 200";
        assert!((cpu_seconds(stat) - 3.0).abs() < 1e-9);
        assert_eq!(resident_bytes("Name:\tx\nVmRSS:\t    2048 kB\n"), 2_097_152);
        assert_eq!((cpu_seconds("x"), resident_bytes("")), (0.0, 0));
    }
}
