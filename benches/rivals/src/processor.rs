//! Time and memory of processes, as `/proc` tells them.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

/// A process, told from a later one with its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    pub id: u32,
    started: u64,
}

#[derive(Debug, PartialEq)]
struct Stat {
    parent: u32,
    /// User and system time, in ticks.
    ticks: u64,
    /// The same of children that have ended and were waited for.
    ticks_of_children: u64,
    started: u64,
    is_dead: bool,
}

/// The fields of `/proc/PID/stat` behind the program's name, which may hold anything.
fn read_stat(text: &str) -> Option<Stat> {
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    let number = |at: usize| fields.get(at)?.parse::<u64>().ok();
    Some(Stat {
        parent: u32::try_from(number(1)?).ok()?,
        ticks: number(11)? + number(12)?,
        ticks_of_children: number(13)? + number(14)?,
        started: number(19)?,
        is_dead: matches!(*fields.first()?, "Z" | "X"),
    })
}

fn stat(id: u32) -> Option<Stat> {
    read_stat(&fs::read_to_string(format!("/proc/{id}/stat")).ok()?)
}

/// The unit of what `/proc` tells.
pub fn ticks_of_a_second() -> f64 {
    // SAFETY: takes a number and returns one.
    let ticks = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
    ticks as f64
}

fn seconds(ticks: u64) -> f64 {
    ticks as f64 / ticks_of_a_second()
}

/// A process and all that descend from it.
pub fn tree(root: u32) -> Vec<Identity> {
    let mut children: HashMap<u32, Vec<Identity>> = HashMap::new();
    let mut found = Vec::new();
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    for id in entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()) {
        let Some(stat) = stat(id) else { continue };
        let identity = Identity {
            id,
            started: stat.started,
        };
        if id == root {
            found.push(identity);
        }
        children.entry(stat.parent).or_default().push(identity);
    }
    let mut next = 0;
    while let Some(parent) = found.get(next) {
        found.extend(children.remove(&parent.id).unwrap_or_default());
        next += 1;
    }
    found
}

/// Whether it still runs. One that has ended and was not waited for does not.
pub fn is_alive(process: Identity) -> bool {
    stat(process.id).is_some_and(|stat| stat.started == process.started && !stat.is_dead)
}

/// Processor seconds of a process and all that descend from it.
pub fn seconds_of_tree(root: u32) -> f64 {
    let processes = tree(root);
    seconds(
        processes
            .iter()
            .filter_map(|process| stat(process.id))
            .map(|stat| stat.ticks)
            .sum(),
    )
}

/// Processor seconds of this program and of what it started and has waited for.
pub fn seconds_of_self() -> f64 {
    stat(std::process::id()).map_or(0.0, |stat| seconds(stat.ticks + stat.ticks_of_children))
}

/// Bytes that a process and its descendants hold; what several share is counted once.
pub fn memory_of_tree(root: u32) -> u64 {
    let kibibytes: u64 = tree(root)
        .iter()
        .filter_map(|process| fs::read_to_string(format!("/proc/{}/smaps_rollup", process.id)).ok())
        .filter_map(|text| read_proportional(&text))
        .sum();
    kibibytes * 1024
}

fn read_proportional(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Bytes that the files below a folder take, holes not counted.
pub fn bytes_in(folder: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => bytes_in(&entry.path()),
            Ok(metadata) => metadata.blocks() * 512,
            Err(_) => 0,
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_read_whatever_its_name_is() {
        let text = "42 (a) name (x) S 7 42 42 0 -1 4194560 9 0 0 0 120 30 4 5 20 0 3 0 987 1 2 3";
        let stat = read_stat(text).expect("it is whole");
        assert_eq!(
            (stat.parent, stat.ticks, stat.ticks_of_children),
            (7, 150, 9)
        );
        assert_eq!((stat.started, stat.is_dead), (987, false));
        assert_eq!(read_stat("42 (cut"), None);
    }

    #[test]
    fn memory_is_read_in_kibibytes() {
        assert_eq!(
            read_proportional("Rss:  9 kB\nPss:  1234 kB\nPss_Dirty: 1 kB\n"),
            Some(1234)
        );
        assert_eq!(read_proportional("Rss: 9 kB\n"), None);
    }

    #[test]
    fn this_process_is_alive_and_in_its_own_tree() {
        let tree = tree(std::process::id());
        assert!(is_alive(tree[0]));
        assert!(memory_of_tree(std::process::id()) > 0);
    }
}
