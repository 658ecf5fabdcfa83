//! What is told of a run, in Markdown.

use crate::arguments::{Arguments, PROXIES};
use crate::busy::TOLERATED;
use crate::contender::{Column, Field};
use crate::goal::GOALS;
use crate::load::Latency;
use crate::machine::Machine;
use crate::run::Findings;
use crate::sample::{Median, Sample};
use crate::table::{Table, number};
use crate::workload::Workload;

pub struct Report<'a> {
    pub arguments: &'a Arguments,
    /// As it was called.
    pub command: String,
    pub date: String,
    pub machine: &'a Machine,
    pub h2load: Option<String>,
    pub field: &'a Field,
    pub findings: &'a Findings,
}

impl Report<'_> {
    /// The whole of it; `plot` is put before the tables, where there is one.
    pub fn render(&self, plot: Option<&str>) -> String {
        let plot = plot.map(|file| {
            format!(
                "![CPU for each request, as ratios to {}]({file})",
                self.ours()
            )
        });
        let parts = [
            self.origin(),
            self.warning(),
            plot.unwrap_or_default(),
            self.cpu(),
            self.ratios(),
            self.throughput(),
            self.latencies(),
            self.memory(),
            self.bursts(),
            self.goals(),
            self.missing(),
        ];
        let parts: Vec<&str> = parts.iter().map(|part| part.trim()).collect();
        let told: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        told.join("\n\n") + "\n"
    }

    /// The column that the others are compared with: the first, which is Tidegate where it takes part.
    fn ours(&self) -> &str {
        self.field
            .columns
            .first()
            .map_or("tidegate", |column| &column.name)
    }

    fn title(&self, name: &str) -> String {
        let column = self.field.columns.iter().find(|column| column.name == name);
        column.map_or_else(|| name.to_owned(), |column| column.title.clone())
    }

    fn origin(&self) -> String {
        let Machine {
            processor,
            cores,
            kernel,
            system,
        } = self.machine;
        let seconds = number(self.arguments.seconds);
        let rounds = match self.arguments.rounds {
            1 => "one round".to_owned(),
            rounds => format!("medians of {rounds} rounds in turn"),
        };
        let placed = match self.arguments.pinned() {
            Some(cores) => format!(
                "one worker on core {}, origin and load on core {}",
                cores.proxy, cores.load
            ),
            None => "two workers, nothing pinned".to_owned(),
        };
        let versions = self.field.columns.iter();
        let mut versions: Vec<String> = versions
            .map(|Column { title, version, .. }| format!("{title} {version}"))
            .collect();
        versions.extend(
            self.h2load
                .iter()
                .map(|version| format!("h2load {version}")),
        );
        format!(
            "`{}`, {}, on {processor} ({cores} cores), Linux {kernel}, {system}; {placed}; {rounds}, \
             {} s for each workload.\n\nMeasured: {}.",
            self.command,
            self.date,
            seconds.trim_end_matches('0').trim_end_matches('.'),
            versions.join("; ")
        )
    }

    /// Whether this run can be trusted.
    fn warning(&self) -> String {
        let (disturbed, worst) = self.findings.samples.disturbed();
        let runs = self.findings.samples.0.len();
        if disturbed == 0 {
            return format!(
                "The machine was left alone: other programs never had more than {:.0} % of a core that was measured on.",
                worst * 100.0
            );
        }
        format!(
            "> **Do not trust this run.** In {disturbed} of {runs} measurements other programs had more than {:.0} % of a \
             core, {:.0} % at worst. CPU for each request comes out too high then, by different amounts, and throughput \
             too low. Run it again on a machine that has nothing else to do.",
            TOLERATED * 100.0,
            worst * 100.0
        )
    }

    fn table(
        &self,
        caption: &str,
        columns: &[Column],
        workloads: impl Fn(Workload) -> bool,
        cell: impl Fn(&Column, Workload) -> Option<String>,
    ) -> String {
        let titles = columns.iter().map(|column| column.title.clone());
        let mut table = Table::new(std::iter::once(String::new()).chain(titles));
        for workload in Workload::ALL.into_iter().filter(|one| workloads(*one)) {
            let cells = columns.iter().map(|column| cell(column, workload));
            let title = Some(workload.title().to_owned());
            table.row(std::iter::once(title).chain(cells).collect());
        }
        captioned(caption, table.render())
    }

    fn cpu(&self) -> String {
        let caption = "### CPU for each request\n\nMicroseconds of user and system time of all of a proxy's processes: \
            medians, and between what the rounds lay.";
        let columns = &self.field.columns;
        self.table(
            caption,
            columns,
            Workload::has_throughput,
            |column, workload| {
                self.findings
                    .samples
                    .cpu(&column.name, workload)
                    .map(spread)
            },
        )
    }

    fn ratios(&self) -> String {
        let ours = self.ours();
        let caption =
            format!("### CPU for each request, {ours}'s to each\n\nBelow 1, {ours} takes less.");
        let others = self.field.columns.get(1..).unwrap_or_default();
        self.table(
            &caption,
            others,
            Workload::has_throughput,
            |column, workload| {
                let ratio = self
                    .findings
                    .samples
                    .cpu_ratio(ours, &column.name, workload);
                ratio.map(|ratio| format!("{ratio:.2}"))
            },
        )
    }

    fn throughput(&self) -> String {
        let caption = "### Requests a second\n\nWith the load generator on a core of its own, which is the limit for the \
            fastest.";
        let columns = &self.field.columns;
        self.table(
            caption,
            columns,
            Workload::has_throughput,
            |column, workload| {
                let throughput = self
                    .findings
                    .samples
                    .median(&column.name, workload, |sample| Some(sample.throughput));
                throughput.map(|median| number(median.value))
            },
        )
    }

    fn latencies(&self) -> String {
        let caption = format!(
            "### Latency\n\nMicroseconds. Closed loop: 64 connections send their next request when they have the answer, \
             so all wait for one another. Open loop: {} requests a second are sent at their times, and the latency counts \
             from then on, however late a request could be sent.",
            number(self.arguments.rate.into())
        );
        let mut table = Table::new(["", "closed p50", "p99", "p99.9", "open p50", "p99", "p99.9"]);
        let mut add = |column: &Column, title: String, closed, open| {
            let of = |workload, quantile: fn(&Latency) -> f64| {
                let median = self
                    .findings
                    .samples
                    .latency(&column.name, workload, quantile);
                median.map(|median| number(median.value))
            };
            table.row(vec![
                Some(title),
                of(closed, |latency| latency.p50),
                of(closed, |latency| latency.p99),
                of(closed, |latency| latency.p999),
                of(open, |latency| latency.p50),
                of(open, |latency| latency.p99),
                of(open, |latency| latency.p999),
            ]);
        };
        for column in &self.field.columns {
            let title = format!("{}, hit, 1 KiB", column.title);
            add(column, title, Workload::Hit, Workload::Paced);
        }
        for column in &self.field.columns {
            let title = format!("{}, hit in Redis", column.title);
            add(column, title, Workload::Redis, Workload::RedisPaced);
        }
        captioned(&caption, table.render())
    }

    fn memory(&self) -> String {
        let caption = format!(
            "### Memory\n\nBytes by which a proxy's processes (and its folder in memory, where it stores there) grew for \
             each of {} objects of 1 KiB that were asked for once. HAProxy takes all its memory at the start.",
            number(self.arguments.objects.into())
        );
        let fill = |workload| workload == Workload::Fill;
        self.table(&caption, &self.field.columns, fill, |column, workload| {
            if column.name == "haproxy" {
                return None;
            }
            let memory = self
                .findings
                .samples
                .median(&column.name, workload, |sample| sample.memory);
            memory.map(spread)
        })
    }

    fn bursts(&self) -> String {
        let mut table = Table::new(["", "requests to the origin", "p99, ms", "last answer, ms"]);
        for column in &self.field.columns {
            let of = |value: fn(&Sample) -> Option<f64>| {
                let samples = &self.findings.samples;
                let median = samples.median(&column.name, Workload::Burst, value);
                median.map(|median| median.value)
            };
            let milliseconds = |value| of(value).map(|value| number(value / 1e3));
            table.row(vec![
                Some(column.title.clone()),
                of(|sample| Some(sample.fetches as f64)).map(|count| format!("{count:.0}")),
                milliseconds(|sample| sample.latency.map(|latency| latency.p99)),
                milliseconds(|sample| sample.latency.map(|latency| latency.longest)),
            ]);
        }
        let caption = "### 200 at once for one cold object\n\nThe origin takes 50 ms for it.";
        captioned(caption, table.render())
    }

    /// Others have goals of their own.
    fn goals(&self) -> String {
        if PROXIES[1..].contains(&self.ours()) {
            return String::new();
        }
        let mut table = Table::new(["", "what", "goal, at most", "reached", ""]);
        for goal in GOALS {
            let Some(reached) = goal.reached(&self.findings.samples, self.ours()) else {
                continue;
            };
            table.row(vec![
                Some(goal.workload.title().to_owned()),
                Some(goal.what(|name| self.title(name))),
                Some(number(goal.at_most)),
                Some(number(reached)),
                Some(
                    if reached <= goal.at_most {
                        "reached"
                    } else {
                        "missed"
                    }
                    .to_owned(),
                ),
            ]);
        }
        captioned(&format!("### Goals of {}", self.ours()), table.render())
    }

    fn missing(&self) -> String {
        let missing: Vec<String> = self
            .field
            .absent
            .iter()
            .chain(&self.findings.missing)
            .map(|line| format!("- {line}"))
            .collect();
        captioned("### Left out", missing.join("\n"))
    }
}

/// Nothing where there is nothing below.
fn captioned(caption: &str, below: String) -> String {
    if below.is_empty() {
        return below;
    }
    format!("{caption}\n\n{below}")
}

fn spread(Median { value, least, most }: Median) -> String {
    if number(least) == number(most) {
        return number(value);
    }
    format!("{} ({}–{})", number(value), number(least), number(most))
}

#[cfg(test)]
mod tests;
