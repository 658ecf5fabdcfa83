//! What Tidegate is to reach, as ratios to others in the same run.

use crate::sample::Samples;
use crate::workload::Workload;

pub enum Measure {
    /// Processor time for each request, as a ratio to another column's.
    Cpu(&'static str),
    /// Processor time for each request, as a ratio to that of another workload of the same column.
    CpuOf(Workload),
    /// Microseconds of processor time that a request takes more than one of another workload.
    MoreThan(Workload),
    /// Bytes for each object.
    Memory,
    /// Requests that reach the origin.
    Fetches,
    /// In milliseconds.
    P99,
}

pub struct Goal {
    pub workload: Workload,
    pub measure: Measure,
    pub at_most: f64,
}

const fn goal(workload: Workload, measure: Measure, at_most: f64) -> Goal {
    Goal {
        workload,
        measure,
        at_most,
    }
}

pub const GOALS: &[Goal] = &[
    goal(Workload::Hit, Measure::Cpu("bare"), 1.15),
    goal(Workload::Hit, Measure::Cpu("haproxy"), 0.9),
    goal(Workload::Hit, Measure::Cpu("nginx"), 0.75),
    goal(Workload::Hit, Measure::Cpu("ats"), 0.4),
    goal(Workload::Hit, Measure::Cpu("varnish"), 0.4),
    goal(Workload::Zipf, Measure::Cpu("haproxy"), 0.85),
    goal(Workload::Zipf, Measure::Cpu("nginx"), 0.6),
    goal(Workload::Hit100K, Measure::Cpu("bare"), 1.05),
    goal(Workload::Hit100K, Measure::Cpu("ats"), 0.85),
    goal(Workload::Hit1M, Measure::Cpu("nginx"), 0.9),
    goal(Workload::Pass, Measure::Cpu("bare"), 1.05),
    goal(Workload::Pass, Measure::Cpu("haproxy"), 1.2),
    goal(Workload::Miss, Measure::Cpu("haproxy"), 1.0),
    goal(Workload::Miss, Measure::Cpu("nginx"), 0.45),
    goal(Workload::Http2, Measure::Cpu("bare"), 1.1),
    goal(Workload::Http2, Measure::Cpu("nginx"), 0.65),
    goal(Workload::Fill, Measure::Memory, 1_700.0),
    goal(Workload::Burst, Measure::Fetches, 1.0),
    goal(Workload::Burst, Measure::P99, 60.0),
    goal(Workload::LimitFresh, Measure::MoreThan(Workload::Hit), 15.0),
    goal(Workload::LimitReused, Measure::MoreThan(Workload::Hit), 3.0),
    goal(Workload::Redis, Measure::CpuOf(Workload::Hit), 2.5),
    goal(Workload::RedisPaced, Measure::P99, 2.0),
];

impl Goal {
    /// What a column has reached, in the unit of the measure.
    pub fn reached(&self, samples: &Samples, ours: &str) -> Option<f64> {
        let cpu = |workload| samples.cpu(ours, workload).map(|median| median.value);
        match self.measure {
            Measure::Cpu(to) => samples.cpu_ratio(ours, to, self.workload),
            Measure::CpuOf(other) => Some(cpu(self.workload)? / cpu(other)?),
            Measure::MoreThan(other) => Some(cpu(self.workload)? - cpu(other)?),
            Measure::Memory => samples
                .median(ours, self.workload, |sample| sample.memory)
                .map(|median| median.value),
            Measure::Fetches => samples
                .median(ours, self.workload, |sample| Some(sample.fetches as f64))
                .map(|median| median.value),
            Measure::P99 => samples
                .latency(ours, self.workload, |latency| latency.p99)
                .map(|median| median.value / 1e3),
        }
    }

    /// What is compared; `title` knows the columns' titles.
    pub fn what(&self, title: impl Fn(&str) -> String) -> String {
        match self.measure {
            Measure::Cpu(to) => format!("CPU, to {}", title(to)),
            Measure::CpuOf(other) => format!("CPU, to \"{}\"", other.title()),
            Measure::MoreThan(other) => format!("CPU, µs more than \"{}\"", other.title()),
            Measure::Memory => "bytes for each object".to_owned(),
            Measure::Fetches => "requests to the origin".to_owned(),
            Measure::P99 => "p99, ms".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::Sample;

    #[test]
    fn goals_are_read_from_the_medians() {
        let sample = |column: &str, workload, cpu| Sample {
            column: column.to_owned(),
            workload: Some(workload),
            cpu,
            ..Sample::default()
        };
        let samples = Samples(vec![
            sample("tidegate", Workload::Hit, 9.0),
            sample("nginx", Workload::Hit, 12.0),
            sample("tidegate", Workload::LimitReused, 11.5),
        ]);
        let reached =
            |workload, measure| goal(workload, measure, 1.0).reached(&samples, "tidegate");
        assert_eq!(reached(Workload::Hit, Measure::Cpu("nginx")), Some(0.75));
        assert_eq!(reached(Workload::Hit, Measure::Cpu("ats")), None);
        assert_eq!(
            reached(Workload::LimitReused, Measure::MoreThan(Workload::Hit)),
            Some(2.5)
        );
        assert_eq!(reached(Workload::Fill, Measure::Memory), None);
    }
}
