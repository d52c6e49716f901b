//! Where and with what a run was made.

use std::fs;
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

    #[cfg(target_os = "linux")]
    #[test]
    fn memory_is_known_on_linux() {
        assert!(peak_rss_bytes() > 1 << 20);
        assert!(Environment::collect().memory_bytes > 1 << 20);
    }
}
