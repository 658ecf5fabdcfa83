//! The part of a document that a program writes, between two markers.

pub const BEGIN: &str = "<!-- rivals: begin -->";
pub const END: &str = "<!-- rivals: end -->";

/// The document with this between its markers, which are added at the end where they are missing; `None` where there is
/// one and not the other behind it.
pub fn with_part(document: &str, part: &str) -> Option<String> {
    let part = part.trim();
    match (document.find(BEGIN), document.find(END)) {
        (None, None) => Some(format!(
            "{}\n\n{BEGIN}\n{part}\n{END}\n",
            document.trim_end()
        )),
        (Some(begin), Some(end)) if begin < end => {
            let (before, after) = (&document[..begin], &document[end + END.len()..]);
            Some(format!("{before}{BEGIN}\n{part}\n{END}{after}"))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_around_the_markers_stays() {
        let document = format!("before\n{BEGIN}\nold\n{END}\nafter\n");
        let written = with_part(&document, "\nnew\n").expect("its markers are right");
        assert_eq!(written, format!("before\n{BEGIN}\nnew\n{END}\nafter\n"));
        assert_eq!(
            with_part(&written, "new").expect("its markers are right"),
            written
        );
    }

    #[test]
    fn markers_are_added_where_there_are_none() {
        assert_eq!(
            with_part("text\n", "new").expect("its markers are right"),
            format!("text\n\n{BEGIN}\nnew\n{END}\n")
        );
        assert_eq!(with_part(&format!("{END}\n{BEGIN}"), "new"), None);
        assert_eq!(with_part(BEGIN, "new"), None);
    }
}
