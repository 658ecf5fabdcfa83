//! Whether the machine was left alone: how much of the cores' time went to others.

use std::fs;

/// A larger share than this spoils a run.
pub const TOLERATED: f64 = 0.05;

/// What cores did since the machine started, in ticks.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Cores {
    /// Programs' own time.
    programs: u64,
    /// Time in which the kernel served interrupts, the network's above all.
    interrupts: u64,
    idle: u64,
    /// Time in which the hypervisor ran somebody else.
    stolen: u64,
}

impl Cores {
    /// Of these cores; of all without any.
    pub fn now(cores: &[usize]) -> Self {
        read(&fs::read_to_string("/proc/stat").unwrap_or_default(), cores)
    }

    /// The share of the time since `before` that was neither idle nor taken by programs that took `own` ticks.
    pub fn share_of_others(self, before: Self, own: f64, kept_apart: bool) -> f64 {
        let since = |now: u64, before: u64| now.saturating_sub(before) as f64;
        let programs = since(self.programs, before.programs);
        let interrupts = since(self.interrupts, before.interrupts);
        let stolen = since(self.stolen, before.stolen);
        let total = programs + interrupts + stolen + since(self.idle, before.idle);
        // Most kernels count what an interrupt takes as time of the program that it interrupts.
        let counted = if kept_apart { 0.0 } else { interrupts };
        if total == 0.0 {
            return 0.0;
        }
        ((programs + counted + stolen - own) / total).clamp(0.0, 1.0)
    }
}

fn read(stat: &str, cores: &[usize]) -> Cores {
    let mut sum = Cores::default();
    for line in stat.lines() {
        let mut fields = line.split_whitespace();
        let core = fields
            .next()
            .and_then(|name| name.strip_prefix("cpu"))
            .and_then(|number| number.parse().ok());
        if !core.is_some_and(|core| cores.is_empty() || cores.contains(&core)) {
            continue;
        }
        let ticks: Vec<u64> = fields.filter_map(|field| field.parse().ok()).collect();
        let tick = |at: usize| ticks.get(at).copied().unwrap_or(0);
        sum.programs += tick(0) + tick(1) + tick(2);
        sum.idle += tick(3) + tick(4);
        sum.interrupts += tick(5) + tick(6);
        sum.stolen += tick(7);
    }
    sum
}

/// Whether this kernel keeps the time of interrupts apart from that of programs (CONFIG_IRQ_TIME_ACCOUNTING).
pub fn keeps_interrupts_apart(release: &str) -> bool {
    fs::read_to_string(format!("/boot/config-{release}"))
        .is_ok_and(|config| config.contains("CONFIG_IRQ_TIME_ACCOUNTING=y"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: &str = "cpu  9 9 9 9 9 9 9 9 0 0\ncpu0 100 10 50 800 5 0 20 0 0 0\ncpu1 0 0 0 900 0 0 0 0 0 0\nintr 5\n";
    const AFTER: &str = "cpu  9 9 9 9 9 9 9 9 0 0\ncpu0 150 10 80 800 5 0 40 0 0 0\ncpu1 30 0 0 960 0 0 0 10 0 0\nintr 5\n";

    #[test]
    fn others_have_what_is_neither_idle_nor_ours() {
        let share = |cores: &[usize], own, apart| {
            read(AFTER, cores).share_of_others(read(BEFORE, cores), own, apart)
        };
        // Core 0 was never idle: 100 ticks, 20 of them for the network.
        assert_eq!(share(&[0], 100.0, false), 0.0);
        assert_eq!(share(&[0], 90.0, false), 0.1);
        assert_eq!(share(&[0], 80.0, true), 0.0);
        // Core 1: 30 of a program, 10 of the hypervisor, 60 idle.
        assert_eq!(share(&[1], 30.0, false), 0.1);
        assert_eq!(share(&[], 130.0, false), 0.05);
        assert_eq!(share(&[1], 500.0, false), 0.0, "never less than nothing");
        assert_eq!(share(&[7], 0.0, false), 0.0, "of a core that is not there");
    }
}
