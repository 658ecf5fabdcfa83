//! A picture of the ratios: a row for each workload, a dot for each proxy, on a scale on which twice as much is always
//! as far. It has no background of its own, and colours that are legible on white and on black.

use std::fmt::Write;

use crate::contender::Column;
use crate::sample::Samples;
use crate::workload::Workload;

const LABELS: f64 = 200.0;
const WIDTH: f64 = 760.0;
const RIGHT: f64 = 24.0;
const TOP: f64 = 58.0;
const ROW: f64 = 26.0;
const GREY: &str = "#808890";
/// Ours, then others in their order; all have about the same contrast to white and to black.
const COLOURS: [&str; 8] = [
    "#e0533a", "#2f8f4e", "#3a7bd5", "#a05bc8", "#b5820f", "#808890", "#178f9c", "#d0508f",
];
const WORKLOADS: [Workload; 7] = [
    Workload::Hit,
    Workload::Zipf,
    Workload::Hit100K,
    Workload::Hit1M,
    Workload::Http2,
    Workload::Pass,
    Workload::Miss,
];

/// CPU for each request of all columns, as ratios to that of the first. Nothing where there is nothing to compare.
pub fn draw(columns: &[Column], samples: &Samples) -> Option<String> {
    let ours = columns.first()?;
    let rows: Vec<(Workload, Vec<(usize, f64)>)> = WORKLOADS
        .into_iter()
        .map(|workload| {
            let ratio = |column: &Column| samples.cpu_ratio(&column.name, &ours.name, workload);
            let dots = columns.iter().enumerate();
            let dots = dots.filter_map(|(at, column)| Some((at, ratio(column)?)));
            (workload, dots.collect::<Vec<_>>())
        })
        .filter(|(_, dots)| dots.len() > 1)
        .collect();
    let ratios = rows
        .iter()
        .flat_map(|(_, dots)| dots)
        .map(|(_, ratio)| *ratio);
    let scale = Scale::over(ratios)?;
    let bottom = TOP + ROW * rows.len() as f64 + 4.0;
    let height = bottom + 24.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\" \
         font-family=\"system-ui, sans-serif\" font-size=\"13\" fill=\"{GREY}\">\n\
         <title>CPU for each request, as ratios to {}</title>\n",
        ours.title
    );
    legend(&mut svg, columns);
    for ratio in scale.marks() {
        let (x, stroke) = (scale.x(ratio), if ratio == 1.0 { 1.6 } else { 0.4 });
        push(
            &mut svg,
            format_args!(
                "<line x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{:.1}\" y2=\"{:.1}\" stroke=\"{GREY}\" stroke-width=\"{stroke}\"/>\
             <text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\" font-size=\"11\">{ratio}×</text>\n",
                TOP - 8.0,
                bottom,
                TOP - 13.0
            ),
        );
    }
    for (row, (workload, dots)) in rows.iter().enumerate() {
        let y = TOP + ROW * (row as f64 + 0.5);
        push(
            &mut svg,
            format_args!(
                "<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>\n",
                LABELS - 14.0,
                y + 4.0,
                workload.title()
            ),
        );
        // Ours is drawn last, and so lies above what it ties with.
        for (at, ratio) in dots.iter().rev() {
            push(
                &mut svg,
                format_args!(
                    "<circle cx=\"{:.1}\" cy=\"{y:.1}\" r=\"5.5\" fill=\"{}\" fill-opacity=\"0.9\"><title>{}: {ratio:.2}</title></circle>\n",
                    scale.x(*ratio),
                    colour(*at),
                    columns[*at].title
                ),
            );
        }
    }
    push(
        &mut svg,
        format_args!(
            "<text x=\"{LABELS}\" y=\"{:.1}\" font-size=\"11\">CPU for each request, beside {}'s: further left is less, and \
             twice as much is as far everywhere</text>\n",
            bottom + 17.0,
            ours.title
        ),
    );
    svg.push_str("</svg>\n");
    Some(svg)
}

fn legend(svg: &mut String, columns: &[Column]) {
    let mut x = LABELS;
    for (at, column) in columns.iter().enumerate() {
        push(
            svg,
            format_args!(
                "<circle cx=\"{x:.1}\" cy=\"14\" r=\"5.5\" fill=\"{}\"/><text x=\"{:.1}\" y=\"18\">{}</text>\n",
                colour(at),
                x + 10.0,
                column.title
            ),
        );
        x += 30.0 + 7.2 * column.title.chars().count() as f64;
    }
}

/// Writing to a string cannot fail.
fn push(svg: &mut String, text: std::fmt::Arguments) {
    let _ = svg.write_fmt(text);
}

fn colour(column: usize) -> &'static str {
    COLOURS[column % COLOURS.len()]
}

/// From the power of two below all ratios to the one above them.
struct Scale {
    low: i32,
    high: i32,
}

impl Scale {
    fn over(ratios: impl Iterator<Item = f64>) -> Option<Self> {
        let powers = ratios.filter(|ratio| *ratio > 0.0).map(f64::log2);
        let (low, high) = powers.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), power| {
            (low.min(power), high.max(power))
        });
        (low <= high).then(|| Self {
            low: (low - 0.01).floor() as i32,
            high: (high + 0.01).ceil() as i32,
        })
    }

    fn x(&self, ratio: f64) -> f64 {
        let width = WIDTH - LABELS - RIGHT;
        let share = (ratio.log2() - f64::from(self.low)) / f64::from(self.high - self.low);
        LABELS + width * share
    }

    fn marks(&self) -> impl Iterator<Item = f64> {
        (self.low..=self.high).map(|power| 2_f64.powi(power))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::Sample;

    #[test]
    fn dots_lie_by_their_ratio() {
        let scale = Scale::over([0.7, 1.0, 3.0].into_iter()).expect("there are ratios");
        assert_eq!(scale.marks().collect::<Vec<_>>(), [0.5, 1.0, 2.0, 4.0]);
        assert_eq!(scale.x(0.5), LABELS);
        assert_eq!(scale.x(4.0), WIDTH - RIGHT);
        assert!((scale.x(2.0) - scale.x(1.0) - (scale.x(1.0) - scale.x(0.5))).abs() < 1e-9);
        assert!(Scale::over(std::iter::empty()).is_none());
    }

    #[test]
    fn a_plot_names_everybody_in_it() {
        let columns = ["tidegate", "nginx"].map(|name| Column {
            name: name.to_owned(),
            title: name.to_owned(),
            version: String::new(),
        });
        let samples = [("tidegate", 8.0), ("nginx", 16.0)].map(|(column, cpu)| Sample {
            column: column.to_owned(),
            workload: Some(Workload::Hit),
            cpu,
            ..Sample::default()
        });
        let svg = draw(&columns, &Samples(samples.to_vec())).expect("two are compared");
        for told in ["tidegate: 1.00", "nginx: 2.00", "hit, 1 KiB", "</svg>"] {
            assert!(svg.contains(told), "{told} in\n{svg}");
        }
        assert!(!svg.contains("pass"), "what nobody was asked has no row");
        assert!(draw(&columns, &Samples::default()).is_none());
    }
}
