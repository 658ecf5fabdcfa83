//! What can be asked for on the command line.

use std::path::PathBuf;

use clap::Parser;
use clap::error::ErrorKind;

use crate::failure::{Failure, Result};
use crate::workload::Workload;

/// Tidegate beside nginx, HAProxy, Varnish, Apache Traffic Server and bare hyper: one origin, the same work, in turn.
///
/// Installs what is missing from Debian packages (without starting their services), builds this checkout, measures,
/// prints tables, and writes them to benches/RESULTS.md and benches/rivals.svg when everything was measured.
#[derive(Parser, Debug)]
#[command(name = "make rivals ARGS=...", bin_name = "make rivals", after_help = after_help())]
pub struct Arguments {
    /// How often each proxy is started and measured, in turn; medians are told.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub rounds: u32,
    /// How long each workload is put on each proxy.
    #[arg(long, value_name = "S", default_value_t = 4.0, value_parser = seconds)]
    pub seconds: f64,
    /// Some of the workloads below.
    #[arg(long, value_name = "NAME,...", value_delimiter = ',', value_parser = workload)]
    pub workloads: Vec<Workload>,
    /// Some of the proxies: tidegate, nginx, haproxy, varnish, ats, bare, and those of --edge.
    #[arg(long, value_name = "NAME,...", value_delimiter = ',')]
    pub proxies: Vec<String>,
    /// Another binary of Tidegate, measured beside this checkout's. May be repeated.
    #[arg(long, value_name = "NAME=PATH", value_parser = edge)]
    pub edge: Vec<Edge>,
    /// Two workers, and nothing pinned. Otherwise one worker on one core, and origin and load on another.
    #[arg(long)]
    pub free: bool,
    /// The core of the proxy and the core of origin and load.
    #[arg(long, value_name = "A,B", default_value = "0,1", value_parser = cores, conflicts_with = "free")]
    pub cores: Cores,
    /// How many objects there are for fill and zipf, and at most for redis.
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub objects: u32,
    /// Requests a second of the paced workloads.
    #[arg(long, value_name = "N", default_value_t = 5_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub rate: u32,
    /// MiB that each proxy may store.
    #[arg(long, value_name = "N", default_value_t = 2_048, value_parser = clap::value_parser!(u32).range(64..=4_000))]
    pub memory: u32,
    /// Installs nothing; leaves out what is not here.
    #[arg(long)]
    pub no_install: bool,
    /// Prints only.
    #[arg(long)]
    pub no_write: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Edge {
    pub name: String,
    pub path: PathBuf,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cores {
    pub proxy: usize,
    pub load: usize,
}

/// The proxies that are always there to be chosen, as columns of the tables.
pub const PROXIES: [&str; 6] = ["tidegate", "nginx", "haproxy", "varnish", "ats", "bare"];

fn after_help() -> String {
    let lines = Workload::ALL.map(|workload| {
        format!(
            "  {:13} {}: {}",
            workload.name(),
            workload.title(),
            workload.about()
        )
    });
    format!(
        "Workloads:\n{}\n\nExamples:\n  \
         make rivals\n  \
         make rivals ARGS=\"--rounds 1 --workloads hit,pass --proxies tidegate,haproxy\"\n  \
         make rivals ARGS=\"--edge before=/tmp/tidegate-before --proxies tidegate,before,bare\"\n\n\
         Build \"before\" with make build too: link-time optimisation alone makes up to a tenth.",
        lines.join("\n")
    )
}

impl Arguments {
    /// `None` where the help was asked for, and has been printed.
    ///
    /// # Errors
    /// With one line about the first thing that makes no sense.
    pub fn read(line: impl IntoIterator<Item = String>) -> Result<Option<Self>> {
        let arguments = match Self::try_parse_from(line) {
            Ok(arguments) => arguments,
            Err(error) if error.kind() == ErrorKind::DisplayHelp => {
                let _ = error.print();
                return Ok(None);
            }
            Err(error) => {
                let text = error.to_string();
                let line = text.lines().next().unwrap_or_default();
                let line = line.strip_prefix("error: ").unwrap_or(line);
                return Err(Failure::Refused(format!("{line} (--help explains)")));
            }
        };
        arguments.check_names()?;
        Ok(Some(arguments))
    }

    fn check_names(&self) -> Result<()> {
        for (at, edge) in self.edge.iter().enumerate() {
            let taken = self.edge[..at].iter().any(|other| other.name == edge.name);
            if taken || PROXIES.contains(&&*edge.name) {
                let line = format!(
                    "--edge {}: there is a proxy of this name already",
                    edge.name
                );
                return Err(Failure::Refused(line));
            }
        }
        let unknown = self
            .proxies
            .iter()
            .find(|name| !self.columns().contains(name));
        if let Some(name) = unknown {
            let known = self.columns().join(", ");
            let line = format!("no proxy named \"{name}\"; there are {known}");
            return Err(Failure::Refused(line));
        }
        Ok(())
    }

    /// The names of all that could be chosen: other builds stand behind this checkout's.
    fn columns(&self) -> Vec<String> {
        let (ours, others) = PROXIES.split_at(1);
        let edges = self.edge.iter().map(|edge| edge.name.as_str());
        let all = ours
            .iter()
            .copied()
            .chain(edges)
            .chain(others.iter().copied());
        all.map(str::to_owned).collect()
    }

    /// The proxies that take part, in the order of the tables.
    pub fn chosen(&self) -> Vec<String> {
        let mut columns = self.columns();
        columns.retain(|name| self.proxies.is_empty() || self.proxies.contains(name));
        columns
    }

    pub fn wants(&self, workload: Workload) -> bool {
        self.workloads.is_empty()
            || self.workloads.contains(&workload)
            || (workload == Workload::Fill && self.workloads.contains(&Workload::Zipf))
    }

    /// Whether nothing was left out by choice.
    pub fn is_everything(&self) -> bool {
        self.workloads.is_empty() && self.proxies.is_empty()
    }

    pub fn workers(&self) -> usize {
        if self.free { 2 } else { 1 }
    }

    pub fn pinned(&self) -> Option<Cores> {
        (!self.free).then_some(self.cores)
    }
}

fn workload(name: &str) -> std::result::Result<Workload, String> {
    Workload::named(name).ok_or_else(|| {
        let names = Workload::ALL.map(Workload::name).join(", ");
        format!("there are {names}")
    })
}

fn seconds(value: &str) -> std::result::Result<f64, String> {
    value
        .parse()
        .ok()
        .filter(|seconds| (0.1..=600.0).contains(seconds))
        .ok_or_else(|| "use a number from 0.1 to 600".to_owned())
}

fn edge(value: &str) -> std::result::Result<Edge, String> {
    let (name, path) = value.split_once('=').ok_or("use NAME=PATH")?;
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if name.is_empty() || !name.chars().all(plain) {
        return Err("a name has letters, digits, - and _".to_owned());
    }
    // What is started has other folders to be in.
    let path = PathBuf::from(path)
        .canonicalize()
        .map_err(|error| format!("{path}: {error}"))?;
    let name = name.to_owned();
    Ok(Edge { name, path })
}

fn cores(value: &str) -> std::result::Result<Cores, String> {
    let (proxy, load) = value.split_once(',').ok_or("use two numbers, as 0,1")?;
    let number = |text: &str| {
        let number = text.trim().parse().ok().filter(|core| *core < 1024);
        number.ok_or_else(|| format!("\"{text}\" is no core"))
    };
    let (proxy, load) = (number(proxy)?, number(load)?);
    if proxy == load {
        return Err("the proxy needs a core of its own".to_owned());
    }
    Ok(Cores { proxy, load })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Option<Arguments>> {
        Arguments::read(
            std::iter::once("rivals")
                .chain(line.split_whitespace())
                .map(str::to_owned),
        )
    }

    #[test]
    fn what_makes_no_sense_is_refused_in_one_line() {
        for line in [
            "--rounds 0",
            "--rounds many",
            "--seconds 0",
            "--seconds NaN",
            "--workloads hits",
            "--proxies squid",
            "--edge before",
            "--edge nginx=/bin/sh",
            "--edge a=/bin/sh --edge a=/bin/sh",
            "--edge a=/no/such/file",
            "--cores 1,1",
            "--cores 0",
            "--free --cores 0,1",
            "--fast",
            "more",
        ] {
            match read(line) {
                Err(Failure::Refused(said)) => {
                    assert_eq!(said.lines().count(), 1, "{line}: {said}")
                }
                other => panic!("{line}: {other:?}"),
            }
        }
    }

    #[test]
    fn without_arguments_everything_is_measured() {
        let all = read("")
            .expect("they make sense")
            .expect("no help was asked for");
        assert!(all.is_everything());
        assert_eq!(all.chosen(), PROXIES);
        assert!(
            Workload::ALL
                .into_iter()
                .all(|workload| all.wants(workload))
        );
        assert_eq!(all.pinned(), Some(Cores { proxy: 0, load: 1 }));
    }

    #[test]
    fn other_builds_stand_behind_ours() {
        let some =
            read("--edge before=/bin/sh --proxies nginx,before,tidegate --workloads zipf --free");
        let some = some
            .expect("they make sense")
            .expect("no help was asked for");
        assert!(!some.is_everything());
        assert_eq!(some.chosen(), ["tidegate", "before", "nginx"]);
        assert!(some.wants(Workload::Fill) && !some.wants(Workload::Hit));
        assert_eq!((some.workers(), some.pinned()), (2, None));
    }
}
