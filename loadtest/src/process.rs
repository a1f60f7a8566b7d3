//! CPU time and memory of the server under test, read from `/proc`.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};

use crate::sys;

const AUTOGROUP: &str = "/proc/self/autogroup";
const RAISED_NICE: &str = "-10";

/// On-CPU time of all threads of a process since it started.
///
/// `schedstat` counts nanoseconds and includes the soft interrupts run in the thread's context; a kernel without it
/// leaves `utime + stime`, in ticks. A thread that ends between two readings takes its time along.
pub(crate) fn cpu_time(pid: u32) -> Result<Duration> {
    let tasks =
        fs::read_dir(format!("/proc/{pid}/task")).with_context(|| format!("process {pid}"))?;
    let mut nanos = 0;
    for task in tasks {
        // A thread may end while we look.
        let Ok(text) = fs::read_to_string(task?.path().join("schedstat")) else {
            continue;
        };
        nanos += on_cpu_nanos(&text).unwrap_or(0);
    }
    if nanos > 0 {
        return Ok(Duration::from_nanos(nanos));
    }
    let text = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let ticks =
        user_and_system_ticks(&text).ok_or_else(|| anyhow!("unexpected /proc/{pid}/stat"))?;
    Ok(Duration::from_nanos(
        ticks * 1_000_000_000 / sys::ticks_per_second(),
    ))
}

/// Resident memory of a process in bytes.
pub(crate) fn rss_bytes(pid: u32) -> Result<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status"))
        .with_context(|| format!("process {pid}"))?;
    resident_bytes(&text).ok_or_else(|| anyhow!("no VmRSS in /proc/{pid}/status"))
}

/// The kernel's scheduling group of this session, raised until the value goes: on a machine that others use too, their work
/// then changes how long a run takes, not what a server is measured at.
pub(crate) struct RaisedGroup(String);

impl RaisedGroup {
    /// `None` where there are no such groups or we may not.
    pub(crate) fn raise() -> Option<Self> {
        let text = fs::read_to_string(AUTOGROUP).ok()?;
        let before = text.split_whitespace().last()?.to_owned();
        fs::write(AUTOGROUP, RAISED_NICE).ok()?;
        Some(Self(before))
    }
}

impl Drop for RaisedGroup {
    fn drop(&mut self) {
        // It was allowed to raise it, so it is allowed to lower it.
        let _ = fs::write(AUTOGROUP, &self.0);
    }
}

/// What the figures were measured on: CPU model and count, memory, kernel.
pub(crate) fn machine() -> String {
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpus
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let model = model.map_or("unknown CPU", |(_, model)| model);
    let count = cpus
        .lines()
        .filter(|line| line.starts_with("processor"))
        .count();
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib: u64 = memory
        .lines()
        .find_map(|line| {
            line.strip_prefix("MemTotal:")?
                .split_whitespace()
                .next()?
                .parse()
                .ok()
        })
        .unwrap_or(0);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!(
        "{count} x {model}, {} GiB, Linux {}",
        kib / 1024 / 1024,
        kernel.trim()
    )
}

fn on_cpu_nanos(schedstat: &str) -> Option<u64> {
    schedstat.split_whitespace().next()?.parse().ok()
}

fn user_and_system_ticks(stat: &str) -> Option<u64> {
    // The command name in parentheses may contain spaces; fields 14 and 15 are counted from the last parenthesis.
    let mut fields = stat[stat.rfind(')')? + 1..].split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

fn resident_bytes(status: &str) -> Option<u64> {
    let kib: u64 = status.lines().find_map(|line| {
        line.strip_prefix("VmRSS:")?
            .split_whitespace()
            .next()?
            .parse()
            .ok()
    })?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proc_files_are_read_by_field_even_with_spaces_in_the_command_name() {
        assert_eq!(on_cpu_nanos("123456 99 7\n"), Some(123_456));
        let stat = "42 (a (b) c) S 1 42 42 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 3 0 7 8 9";
        assert_eq!(user_and_system_ticks(stat), Some(300));
        assert_eq!(
            resident_bytes("Name:\tx\nVmRSS:\t   2048 kB\n"),
            Some(2048 * 1024)
        );
    }

    #[test]
    fn our_own_process_has_used_cpu_and_memory() {
        let pid = std::process::id();
        assert!(cpu_time(pid).unwrap() > Duration::ZERO);
        assert!(rss_bytes(pid).unwrap() > 0);
    }
}
