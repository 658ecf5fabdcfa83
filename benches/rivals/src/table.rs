//! Tables of Markdown, wide enough to be read as they are.

pub struct Table {
    head: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub fn new(head: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self {
            head: head.into_iter().map(Into::into).collect(),
            rows: Vec::new(),
        }
    }

    /// Adds a row, unless it says nothing behind its first cell.
    pub fn row(&mut self, cells: Vec<Option<String>>) {
        if cells.iter().skip(1).any(Option::is_some) {
            let shown = cells
                .into_iter()
                .map(|cell| cell.unwrap_or_else(|| "–".to_owned()));
            self.rows.push(shown.collect());
        }
    }

    /// Empty without rows.
    pub fn render(&self) -> String {
        if self.rows.is_empty() {
            return String::new();
        }
        let width = |column: usize| {
            let cells = std::iter::once(&self.head).chain(&self.rows);
            let widths = cells.filter_map(|row| row.get(column));
            widths.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.head.len()).map(width).collect();
        // Words stand on the left and numbers on the right.
        let line = |cells: &[String]| {
            let padded = cells.iter().zip(&widths).enumerate();
            let cells: Vec<String> = padded
                .map(|(column, (cell, width))| match column {
                    0 => format!("{cell:width$}"),
                    _ => format!("{cell:>width$}"),
                })
                .collect();
            format!("| {} |\n", cells.join(" | "))
        };
        let rule: Vec<String> = widths
            .iter()
            .enumerate()
            .map(|(column, width)| match column {
                0 => "-".repeat(*width),
                _ => "-".repeat(width.saturating_sub(1)) + ":",
            })
            .collect();
        let rows: String = self.rows.iter().map(|row| line(row)).collect();
        line(&self.head) + &line(&rule) + &rows
    }
}

/// With as many digits as mean something, and thousands set apart.
pub fn number(value: f64) -> String {
    let text = match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    };
    let whole = text.find('.').unwrap_or(text.len());
    let mut shown = String::new();
    for (at, digit) in text.char_indices() {
        let left = whole.saturating_sub(at);
        if at > 0 && at < whole && left.is_multiple_of(3) && !shown.ends_with('-') {
            shown.push(',');
        }
        shown.push(digit);
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_lines_up_and_leaves_out_what_says_nothing() {
        let mut table = Table::new(["work", "µs"]);
        assert_eq!(table.render(), "");
        table.row(vec![Some("hit".into()), Some("8.9".into())]);
        table.row(vec![Some("nothing".into()), None]);
        table.row(vec![Some("longer".into()), Some("100".into())]);
        let lines = [
            "| work   |  µs |",
            "| ------ | --: |",
            "| hit    | 8.9 |",
            "| longer | 100 |",
            "",
        ];
        assert_eq!(table.render(), lines.join("\n"));
    }

    #[test]
    fn numbers_have_the_digits_that_mean_something() {
        for (value, shown) in [
            (0.0, "0.00"),
            (8.874, "8.87"),
            (18.05, "18.1"),
            (327.4, "327"),
            (-123.0, "-123"),
            (108_257.3, "108,257"),
            (1_234_567.0, "1,234,567"),
        ] {
            assert_eq!(number(value), shown);
        }
    }
}
