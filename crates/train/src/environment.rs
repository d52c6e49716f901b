//! Where and with what a run was made.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde::Serialize;

/// What `env.json` records.
#[derive(Clone, Debug, Serialize)]
pub struct Environment {
    /// Version of Slimbed.
    pub slimbed: &'static str,
    /// Commit of the checkout the command ran in, with `+` when it had changes; empty outside one.
    pub commit: String,
    /// The command line.
    pub command: Vec<String>,
    /// Operating system and architecture.
    pub platform: String,
    /// Name of the processor; empty where it is not known.
    pub cpu: String,
    /// Logical processors.
    pub n_cpus: usize,
    /// Threads the run may use.
    pub n_threads: usize,
    /// Physical memory in bytes; 0 where it is not known.
    pub memory_bytes: u64,
}

impl Environment {
    /// Looks around.
    pub fn collect() -> Self {
        Self {
            slimbed: env!("CARGO_PKG_VERSION"),
            commit: commit(),
            command: std::env::args().collect(),
            platform: format!("{}-{}", std::env::consts::OS, std::env::consts::ARCH),
            cpu: proc_value("/proc/cpuinfo", "model name").unwrap_or_default(),
            n_cpus: std::thread::available_parallelism().map_or(1, usize::from),
            n_threads: rayon::current_num_threads(),
            memory_bytes: proc_value("/proc/meminfo", "MemTotal")
                .map_or(0, |text| kibibytes(&text)),
        }
    }
}

/// The largest resident size of this process so far, in bytes; 0 where the system does not tell.
pub fn peak_rss_bytes() -> u64 {
    proc_value("/proc/self/status", "VmHWM").map_or(0, |text| kibibytes(&text))
}

/// Physical memory behind this process' mappings of the file at `path`, in bytes; `None` where the system does
/// not tell.
pub fn resident_bytes_of(path: &Path) -> Option<u64> {
    let path = path.canonicalize().ok()?;
    let smaps = fs::read_to_string("/proc/self/smaps").ok()?;
    Some(resident_bytes(&smaps, path.to_str()?))
}

fn resident_bytes(smaps: &str, path: &str) -> u64 {
    let (mut n_bytes, mut is_ours) = (0, false);
    for line in smaps.lines() {
        match line.strip_prefix("Rss:") {
            Some(size) if is_ours => n_bytes += kibibytes(size),
            Some(_) => {}
            // A mapping begins with its addresses: its path may have blanks, but stands behind five columns.
            None if line
                .split(' ')
                .next()
                .is_some_and(|word| !word.ends_with(':')) =>
            {
                is_ours = line.ends_with(path) && line.trim_end_matches(path).ends_with(' ');
            }
            None => {}
        }
    }
    n_bytes
}

/// The value of the first line `key : value` of a file of the proc file system.
fn proc_value(path: &str, key: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.lines().find(|line| line.starts_with(key))?;
    line.split_once(':')
        .map(|(_, value)| value.trim().to_owned())
}

fn kibibytes(text: &str) -> u64 {
    let number = text
        .split_whitespace()
        .next()
        .and_then(|number| number.parse::<u64>().ok());
    number.unwrap_or(0) * 1024
}

fn commit() -> String {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").args(arguments).output().ok()?;
        output
            .status
            .success()
            .then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let Some(commit) = git(&["rev-parse", "HEAD"]) else {
        return String::new();
    };
    let changed = git(&["status", "--porcelain"]).is_some_and(|changes| !changes.is_empty());
    format!("{commit}{}", if changed { "+" } else { "" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memory_of_a_file_is_that_of_all_its_mappings() {
        let smaps = "\
7f00-7f10 r--p 00000000 fe:00 42                         /tmp/a b/model
Size:                 64 kB
Rss:                  12 kB
7f10-7f20 r--p 00000000 fe:00 43                         /other/tmp/a b/model
Rss:                  100 kB
7f20-7f30 rw-p 00000000 00:00 0
Rss:                  1000 kB
7f30-7f40 r--p 00000000 fe:00 42                         /tmp/a b/model
Rss:                  4 kB
VmFlags: rd mr
";
        assert_eq!(resident_bytes(smaps, "/tmp/a b/model"), 16 * 1024);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn memory_is_known_on_linux() {
        assert!(peak_rss_bytes() > 1 << 20);
        assert!(Environment::collect().memory_bytes > 1 << 20);
    }
}
