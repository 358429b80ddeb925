//! What a process used: CPU seconds and peak memory, as Linux counts them.

use std::time::Instant;

use serde::{Deserialize, Serialize};

/// What a measured process came to.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Measured {
    pub seconds: f64,
    pub cpu_seconds: f64,
    pub peak_mb: u64,
    pub requests: u64,
}

/// Measures from its making on.
pub struct Usage {
    begun: Instant,
    cpu: f64,
}

impl Usage {
    pub fn begin() -> Self {
        Self { begun: Instant::now(), cpu: cpu_seconds() }
    }

    pub fn end(&self, requests: u64) -> Measured {
        Measured {
            seconds: self.begun.elapsed().as_secs_f64(),
            cpu_seconds: cpu_seconds() - self.cpu,
            peak_mb: peak_mb(),
            requests,
        }
    }
}

/// User and system time of this process: fields 14 and 15 of /proc/self/stat, in hundredths of a second.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks: f64 = after_name.split_whitespace().skip(11).take(2).filter_map(|t| t.parse::<f64>().ok()).sum();
    ticks / 100.0
}

fn peak_mb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).unwrap_or_default();
    line.trim().trim_end_matches("kB").trim().parse::<u64>().unwrap_or_default() / 1024
}
