//! Lists for people: columns as wide as they must be, and nothing in them that a terminal obeys.

/// Lines of columns under their heads; the last column, which may be long, is not padded.
pub(crate) fn table<const COLUMNS: usize>(
    heads: [&str; COLUMNS],
    rows: impl IntoIterator<Item = [String; COLUMNS]>,
) -> String {
    let heads = heads.map(str::to_owned);
    let rows: Vec<_> = [heads].into_iter().chain(rows).collect();
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.max().unwrap_or_default()
    };
    let widths: Vec<_> = (0..COLUMNS).map(width).collect();
    let lines = rows.iter().map(|row| {
        let cells = row.iter().zip(&widths);
        let line: Vec<_> = cells
            .map(|(cell, width)| format!("{cell:width$}", width = *width))
            .collect();
        format!("{}\n", line.join("  ").trim_end())
    });
    lines.collect()
}

/// A text from outside on one line, without what could drive a terminal.
pub(crate) fn plain(text: &str) -> String {
    text.replace(char::is_control, "\u{fffd}")
}

/// The same, on as many lines as it has.
pub(crate) fn plain_lines(text: &str) -> String {
    text.replace(|c: char| c.is_control() && c != '\n', "\u{fffd}")
}

/// How long ago it was, in the unit that it takes.
pub(crate) fn age(millis: u64) -> String {
    match millis / 1_000 {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7_200 => format!("{} min", seconds / 60),
        seconds @ 7_200..172_800 => format!("{} h", seconds / 3_600),
        seconds => format!("{} d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::{age, plain, plain_lines, table};

    #[test]
    fn nothing_that_drives_a_terminal_is_left() {
        let text = "a\u{1b}[31m\nb\u{9b}c\r";
        assert_eq!(plain(text), "a\u{fffd}[31m\u{fffd}b\u{fffd}c\u{fffd}");
        assert_eq!(plain_lines(text), "a\u{fffd}[31m\nb\u{fffd}c\u{fffd}");
    }

    #[test]
    fn an_age_is_told_in_the_unit_that_it_takes() {
        for (millis, expected) in [
            (0, "0 s"),
            (119_999, "119 s"),
            (120_000, "2 min"),
            (7_200_000, "2 h"),
            (172_800_000, "2 d"),
        ] {
            assert_eq!(age(millis), expected);
        }
    }

    #[test]
    fn columns_are_as_wide_as_they_must_be() {
        let rows = [
            ["é".to_owned(), "b".to_owned()],
            ["long".to_owned(), String::new()],
        ];
        assert_eq!(table(["A", "B"], rows), "A     B\né     b\nlong\n");
    }
}
