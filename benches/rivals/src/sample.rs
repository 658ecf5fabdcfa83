//! What was measured, and the medians of it.

use crate::busy;
use crate::load::Latency;
use crate::workload::Workload;

/// One workload on one proxy in one round.
#[derive(Clone, Debug, Default)]
pub struct Sample {
    pub round: u32,
    pub column: String,
    pub workload: Option<Workload>,
    pub requests: u64,
    pub errors: u64,
    /// Requests a second.
    pub throughput: f64,
    /// Microseconds of the proxy's processor time for each request.
    pub cpu: f64,
    pub latency: Option<Latency>,
    /// Requests that reached the origin.
    pub fetches: u64,
    /// Bytes by which the proxy grew, for each object that it was filled with; `None` where that says nothing.
    pub memory: Option<f64>,
    /// The share of the cores' time that went to other programs.
    pub others: f64,
}

/// A median over the rounds, and between what they lay.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Median {
    pub value: f64,
    pub least: f64,
    pub most: f64,
}

impl Median {
    /// `None` of nothing.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let (least, most) = (*values.first()?, *values.last()?);
        let middle = values.len() / 2;
        let value = if values.len() % 2 == 1 {
            values[middle]
        } else {
            f64::midpoint(values[middle - 1], values[middle])
        };
        Some(Self { value, least, most })
    }
}

#[derive(Default)]
pub struct Samples(pub Vec<Sample>);

impl Samples {
    /// Samples with errors in them say nothing, and are left out.
    fn sound(&self, column: &str, workload: Workload) -> impl Iterator<Item = &Sample> {
        self.0.iter().filter(move |sample| {
            sample.column == column && sample.workload == Some(workload) && sample.errors == 0
        })
    }

    pub fn median(
        &self,
        column: &str,
        workload: Workload,
        of: impl Fn(&Sample) -> Option<f64>,
    ) -> Option<Median> {
        Median::of(self.sound(column, workload).filter_map(of))
    }

    pub fn cpu(&self, column: &str, workload: Workload) -> Option<Median> {
        self.median(column, workload, |sample| Some(sample.cpu))
    }

    pub fn latency(
        &self,
        column: &str,
        workload: Workload,
        of: impl Fn(&Latency) -> f64,
    ) -> Option<Median> {
        self.median(column, workload, |sample| sample.latency.as_ref().map(&of))
    }

    /// The ratio of medians of one column to another; above 1 the first takes more.
    pub fn cpu_ratio(&self, column: &str, to: &str, workload: Workload) -> Option<f64> {
        let (this, that) = (self.cpu(column, workload)?, self.cpu(to, workload)?);
        (that.value > 0.0).then(|| this.value / that.value)
    }

    /// How many runs others had more than a tolerable share of, and their largest share.
    pub fn disturbed(&self) -> (usize, f64) {
        let shares = self.0.iter().map(|sample| sample.others);
        let count = shares.clone().filter(|share| *share > busy::TOLERATED);
        (count.count(), shares.fold(0.0, f64::max))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_is_the_middle_and_knows_the_ends() {
        let median = |values: &[f64]| Median::of(values.iter().copied());
        assert_eq!(median(&[]), None);
        for (values, value, least, most) in [
            (&[3.0][..], 3.0, 3.0, 3.0),
            (&[9.0, 1.0, 2.0], 2.0, 1.0, 9.0),
            (&[4.0, 1.0, 2.0, 9.0], 3.0, 1.0, 9.0),
        ] {
            assert_eq!(median(values), Some(Median { value, least, most }));
        }
    }

    #[test]
    fn what_had_errors_is_left_out_and_what_was_disturbed_is_counted() {
        let sample = |column: &str, cpu, errors, others| Sample {
            column: column.to_owned(),
            workload: Some(Workload::Hit),
            cpu,
            errors,
            others,
            ..Sample::default()
        };
        let samples = Samples(vec![
            sample("tidegate", 8.0, 0, 0.01),
            sample("tidegate", 99.0, 3, 0.0),
            sample("nginx", 16.0, 0, 0.3),
        ]);
        assert_eq!(
            samples.cpu_ratio("tidegate", "nginx", Workload::Hit),
            Some(0.5)
        );
        assert_eq!(samples.cpu_ratio("tidegate", "ats", Workload::Hit), None);
        assert_eq!(samples.disturbed(), (1, 0.3));
    }
}
