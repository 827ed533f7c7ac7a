//! What this process uses: memory and processor time, as the system counts them.

use rustix::param::clock_ticks_per_second;
use std::fs;

/// Bytes of memory. 0: the system does not say.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Memory {
    /// Without the pages of files.
    pub(crate) own: u64,
    pub(crate) resident: u64,
    /// The most that was resident at a time.
    pub(crate) peak: u64,
}

/// Seconds of processor time, of all threads together.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cpu {
    pub(crate) user: f64,
    pub(crate) system: f64,
}

pub(crate) fn memory() -> Memory {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let bytes = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        let kib = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
        kib.unwrap_or(0) << 10
    };
    Memory { own: bytes("RssAnon"), resident: bytes("VmRSS"), peak: bytes("VmHWM") }
}

pub(crate) fn cpu() -> Cpu {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The name of the program, in parentheses, may have blanks in it.
    let fields = stat.rsplit_once(") ").map_or("", |(_, fields)| fields);
    let mut times = fields.split(' ').skip(11).map(|ticks| ticks.parse::<f64>().unwrap_or(0.0));
    let mut seconds = || times.next().unwrap_or(0.0) / clock_ticks_per_second() as f64;
    Cpu { user: seconds(), system: seconds() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_used_is_seen() {
        let before = memory();
        let used = vec![1_u8; 64 << 20];
        let after = memory();
        assert!(after.own >= before.own + (60 << 20), "{before:?} {after:?}");
        assert!(after.resident >= after.own && after.peak >= after.resident, "{after:?}");
        let begun = cpu();
        let mut sum = 0_u64;
        while cpu().user <= begun.user {
            sum = used.iter().fold(sum, |sum, &byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
        }
        assert_ne!(sum, 0);
    }
}
