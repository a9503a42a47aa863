//! What a process has cost so far, by the kernel's own account.

use std::fs;

/// CPU time of all threads that live, in nanoseconds: user and system together.
pub(crate) fn cpu_ns(pid: u32) -> u64 {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("the process");
    tasks
        .flatten()
        .filter_map(|task| fs::read_to_string(task.path().join("schedstat")).ok())
        .filter_map(|stat| stat.split(' ').next()?.parse::<u64>().ok())
        .sum()
}

/// A figure in kB from the process's status: `VmHWM` is the peak, `VmRSS` what is resident now,
/// `RssAnon` what of it is its own.
pub(crate) fn memory_kb(pid: u32, figure: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the process");
    status
        .lines()
        .find_map(|line| {
            line.strip_prefix(figure)?.strip_prefix(':')?.trim().strip_suffix(" kB")?.parse().ok()
        })
        .expect("the figure")
}

/// The median; of an even number the mean of the two in the middle.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 { values[middle] } else { (values[middle - 1] + values[middle]) / 2.0 }
}
