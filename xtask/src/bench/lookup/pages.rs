//! The pages that really back a table's memory, as the system tells.

use std::fs;

use serde::Serialize;

/// The pages of a region of memory.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Pages {
    /// Size of most of them, in KiB.
    pub page_kb: u64,
    /// Share of the resident bytes that huge pages hold.
    pub huge_share: f64,
}

/// The pages of the region of process `pid` that `address` is in; `None` where the system does not tell.
pub fn backing(pid: u32, address: u64) -> Option<Pages> {
    let smaps = fs::read_to_string(format!("/proc/{pid}/smaps")).ok()?;
    let size = fs::read_to_string("/sys/kernel/mm/transparent_hugepage/hpage_pmd_size");
    let huge_bytes = size.ok().and_then(|size| size.trim().parse::<u64>().ok());
    pages(&smaps, address, huge_bytes.unwrap_or(0) / 1024)
}

fn pages(smaps: &str, address: u64, huge_kb: u64) -> Option<Pages> {
    let mut lines = smaps.lines();
    lines.find(|line| is_region_of(line, address))?;
    let region: Vec<&str> = lines.take_while(|line| range(line).is_none()).collect();
    let kb = |name: &str| {
        let mut values = region.iter().filter_map(|line| line.strip_prefix(name));
        let value = values.next()?.trim().strip_suffix(" kB")?;
        value.parse::<u64>().ok()
    };
    let huge = ["AnonHugePages:", "ShmemPmdMapped:", "FilePmdMapped:"];
    let huge: u64 = huge.iter().filter_map(|name| kb(name)).sum();
    let huge_share = huge as f64 / kb("Rss:")?.max(1) as f64;
    let page_kb = match huge_share > 0.5 {
        true => huge_kb,
        false => kb("KernelPageSize:")?,
    };
    Some(Pages {
        page_kb,
        huge_share,
    })
}

fn is_region_of(line: &str, address: u64) -> bool {
    range(line).is_some_and(|(start, end)| (start..end).contains(&address))
}

/// The addresses at the head of a region: `7f00-7f80 rw-p …`.
fn range(line: &str) -> Option<(u64, u64)> {
    let (start, end) = line.split_whitespace().next()?.split_once('-')?;
    let parse = |text| u64::from_str_radix(text, 16).ok();
    Some((parse(start)?, parse(end)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMAPS: &str = "\
1000-3000 rw-p 00000000 00:00 0
Size: 8 kB
KernelPageSize: 4 kB
Rss: 8 kB
AnonHugePages: 0 kB
VmFlags: rd wr mr
a0000000-a0800000 rw-p 00000000 00:00 0
Size: 8192 kB
KernelPageSize: 4 kB
Rss: 8192 kB
AnonHugePages: 6144 kB
VmFlags: rd wr mr
";

    #[test]
    fn regions_are_found_by_address() {
        let found = |address| pages(SMAPS, address, 2048);
        let small = Pages {
            page_kb: 4,
            huge_share: 0.0,
        };
        let huge = Pages {
            page_kb: 2048,
            huge_share: 0.75,
        };
        assert_eq!((found(0x2fff), found(0x3000)), (Some(small), None));
        assert_eq!(found(0xa000_0000), Some(huge));
    }
}
