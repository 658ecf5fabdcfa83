use super::*;
use crate::sample::Samples;

fn sample(column: &str, cpu: f64, others: f64) -> Sample {
    Sample {
        column: column.to_owned(),
        workload: Some(Workload::Hit),
        requests: 100,
        cpu,
        throughput: 1e6 / cpu,
        others,
        ..Sample::default()
    }
}

fn rendered(samples: Vec<Sample>) -> String {
    let line = ["rivals", "--workloads", "hit"].map(str::to_owned);
    let arguments = Arguments::read(line)
        .expect("they make sense")
        .expect("no help was asked for");
    let column = |name: &str| Column {
        name: name.to_owned(),
        title: name.to_uppercase(),
        version: "1.0".to_owned(),
    };
    let field = Field {
        columns: vec![column("tidegate"), column("nginx")],
        contenders: Vec::new(),
        absent: vec!["Varnish: there is no varnishd here".to_owned()],
    };
    let findings = Findings {
        samples: Samples(samples),
        missing: Vec::new(),
    };
    let machine = Machine {
        processor: "EPYC".to_owned(),
        cores: 2,
        kernel: "6.18".to_owned(),
        system: "Debian".to_owned(),
    };
    Report {
        arguments: &arguments,
        command: "make rivals".to_owned(),
        date: "today".to_owned(),
        machine: &machine,
        h2load: None,
        field: &field,
        findings: &findings,
    }
    .render(Some("rivals.svg"))
}

#[test]
fn a_report_has_medians_their_spread_and_ratios() {
    let report = rendered(vec![
        sample("tidegate", 9.0, 0.0),
        sample("tidegate", 8.0, 0.0),
        sample("tidegate", 10.0, 0.01),
        sample("nginx", 12.0, 0.0),
    ]);
    for told in [
        "| hit, 1 KiB | 9.00 (8.00–10.0) |  12.0 |",
        "| hit, 1 KiB |  0.75 |",
        "CPU, to NGINX",
        "reached",
        "TIDEGATE 1.0; NGINX 1.0",
        "EPYC (2 cores), Linux 6.18",
        "left alone",
        "- Varnish: there is no varnishd here",
        "](rivals.svg)",
    ] {
        assert!(report.contains(told), "{told} in\n{report}");
    }
    assert!(
        !report.contains("### Memory"),
        "nothing was filled:\n{report}"
    );
}

#[test]
fn a_busy_machine_is_told_of() {
    let report = rendered(vec![
        sample("tidegate", 9.0, 0.4),
        sample("nginx", 9.0, 0.0),
    ]);
    assert!(
        report.contains("**Do not trust this run.** In 1 of 2"),
        "{report}"
    );
    assert!(report.contains("40 % at worst"), "{report}");
}
