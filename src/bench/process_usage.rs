//! Processor time and memory of a process, from Linux' `/proc`.

use std::time::Duration;

/// The unit of processor times in `/proc`: a hundredth of a second on every Linux that the router runs on.
const CLOCK_TICK: Duration = Duration::from_millis(10);
/// The positions of user and system time in `/proc/<id>/stat`, counted after the command's name.
const USER_TIME_FIELD: usize = 11;
const SYSTEM_TIME_FIELD: usize = 12;

/// What a process has used so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ProcessUsage {
    /// Processor time of all its threads.
    pub cpu: Duration,
    /// Resident memory, in KiB.
    pub resident_kib: u64,
    /// The highest resident memory since its start, in KiB.
    pub peak_kib: u64,
}

impl ProcessUsage {
    /// Reads the usage of a process; `None` where there is no such process, or no `/proc`.
    pub fn read(process: u32) -> Option<Self> {
        let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
        let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
        Self::parse(&stat, &status)
    }

    fn parse(stat: &str, status: &str) -> Option<Self> {
        // The name may contain spaces and brackets: the fields begin after its last bracket.
        let (_, fields) = stat.rsplit_once(") ")?;
        let fields: Vec<&str> = fields.split(' ').collect();
        let ticks = |at: usize| fields.get(at)?.parse::<u32>().ok();
        let memory = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            line.trim().trim_end_matches(" kB").parse::<u64>().ok()
        };
        Some(Self {
            cpu: CLOCK_TICK * ticks(USER_TIME_FIELD)?.saturating_add(ticks(SYSTEM_TIME_FIELD)?),
            resident_kib: memory("VmRSS:")?,
            peak_kib: memory("VmHWM:")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usage_is_parsed_whatever_the_process_is_called() {
        let stat = "7 (a) (b) R 1 7 7 0 -1 4194304 100 0 0 0 150 25 0 0 20 0 4 0 12345 1000 200";
        let status = "Name:\ta\nVmHWM:\t   20480 kB\nVmRSS:\t   10240 kB\n";
        let expected = ProcessUsage {
            cpu: Duration::from_millis(1_750),
            resident_kib: 10_240,
            peak_kib: 20_480,
        };
        assert_eq!(ProcessUsage::parse(stat, status), Some(expected));
        assert_eq!(ProcessUsage::parse("7 (a) R", status), None);
        assert!(ProcessUsage::read(std::process::id()).unwrap().peak_kib > 0);
    }
}
