//! How long a process has been on a processor.

use std::fs;
use std::time::Duration;

/// The time that all threads of a process have been on a processor: the first field of `schedstat` (Linux,
/// Documentation/scheduler/sched-stats), in nanoseconds. Threads that have ended are left out.
pub(crate) fn time(process: u32) -> Duration {
    let folder = format!("/proc/{process}/task");
    let tasks = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{folder}: {error}"));
    let nanoseconds = tasks.filter_map(|task| {
        let text = fs::read_to_string(task.ok()?.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(nanoseconds.sum())
}
