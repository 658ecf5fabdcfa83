//! Names with places to fill.

use tidegate_sdk::{Captures, decoded_segment};

/// Puts captures into a template: as they stood in the path, or decoded.
pub(crate) fn fill(template: &str, captures: &Captures<'_>, encoded: bool) -> String {
    let mut filled = String::with_capacity(template.len());
    let mut rest = template;
    while let Some((before, name, after)) = next_place(rest) {
        filled.push_str(before);
        if let Some((_, value)) = captures.iter().find(|(captured, _)| *captured == name) {
            if encoded {
                filled.push_str(value);
            } else {
                filled.push_str(&decoded_segment(value));
            }
        }
        rest = after;
    }
    filled.push_str(rest);
    filled
}

/// The names of a template's places.
pub(crate) fn captures_of(template: &str) -> impl Iterator<Item = &str> {
    let mut rest = template;
    std::iter::from_fn(move || {
        let (_, name, after) = next_place(rest)?;
        rest = after;
        Some(name)
    })
}

fn next_place(template: &str) -> Option<(&str, &str, &str)> {
    let (before, rest) = template.split_once('{')?;
    let (name, after) = rest.split_once('}')?;
    Some((before, name, after))
}

#[cfg(test)]
mod tests {
    use super::fill;

    #[test]
    fn tags_hold_what_a_path_means_and_urls_what_it_says() {
        for (value, tag, url) in [
            ("7", "course:7", "/courses/7"),
            ("%37", "course:7", "/courses/%37"),
            ("%FF", "course:%FF", "/courses/%FF"),
            ("%4", "course:%4", "/courses/%4"),
        ] {
            let captures = vec![("id", value)];
            assert_eq!(fill("course:{id}", &captures, false), tag);
            assert_eq!(fill("/courses/{id}", &captures, true), url);
        }
    }
}
