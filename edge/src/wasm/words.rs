//! A guest's own words, where they are repeated to people.

/// The most of them that is repeated, in bytes.
const MOST: usize = 2 << 10;

/// What a guest says, or what is said of it with names that it has chosen, as a text of one line: cut,
/// and without anything that a terminal obeys or that would pass for a line of ours.
pub(crate) fn words(text: &str) -> String {
    let cut = text.floor_char_boundary(MOST);
    let mut words = String::with_capacity(cut);
    for character in text[..cut].chars() {
        if character.is_ascii_graphic() || character == ' ' {
            words.push(character);
        } else {
            words.extend(character.escape_debug());
        }
    }
    if cut < text.len() {
        words.push('…');
    }
    words
}

#[cfg(test)]
mod tests {
    use super::{MOST, words};

    #[test]
    fn what_drives_a_terminal_or_ends_a_line_is_escaped() {
        for (said, expected) in [
            ("missing field \"x\" at é", "missing field \"x\" at é"),
            ("\u{1b}]0;root\u{7}", "\\u{1b}]0;root\\u{7}"),
            ("a\nERROR b\r\tc", "a\\nERROR b\\r\\tc"),
            ("\u{9b}2J\u{7f}", "\\u{9b}2J\\u{7f}"),
            ("\u{202e}olleh", "\\u{202e}olleh"),
        ] {
            assert_eq!(words(said), expected);
        }
    }

    #[test]
    fn what_is_long_is_cut_between_characters() {
        let long = "ä".repeat(MOST);
        assert_eq!(words(&long), format!("{}…", "ä".repeat(MOST / 2)));
        assert_eq!(words(&long[..MOST]), long[..MOST]);
    }
}
