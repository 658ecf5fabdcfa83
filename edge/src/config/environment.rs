//! `${NAME}` inside double-quoted strings of a configuration.

/// Replaces `${NAME}` and `${NAME:-default}` inside double-quoted strings; comments and
/// single-quoted strings stay as they are. A replaced value is escaped, so that it cannot end the
/// string it stands in, and lines stay lines. `lookup` is told the line (from 1) and the name.
///
/// # Errors
/// The line (from 1) and the name of the first variable that has neither value nor default.
pub(super) fn expand(
    text: &str,
    lookup: impl Fn(usize, &str) -> Option<String>,
) -> Result<String, (usize, String)> {
    let mut expanded = String::with_capacity(text.len());
    let mut place = Place::Outside;
    let mut line = 1;
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        if place == Place::Quoted
            && rest.starts_with("${")
            && let Some(end) = rest.find(['}', '\n'])
            && rest[end..].starts_with('}')
        {
            let (name, default) = match rest[2..end].split_once(":-") {
                Some((name, default)) => (name, Some(default.to_owned())),
                None => (&rest[2..end], None),
            };
            let value = lookup(line, name)
                .or(default)
                .ok_or((line, name.to_owned()))?;
            push_escaped(&mut expanded, &value);
            rest = &rest[end + 1..];
            continue;
        }
        let taken = if place == Place::Quoted && next == '\\' {
            // The escaped character goes with its backslash, so that \" does not end the string.
            rest.char_indices().nth(2).map_or(rest.len(), |(at, _)| at)
        } else {
            place = place.after(next);
            next.len_utf8()
        };
        line += rest[..taken].matches('\n').count();
        expanded.push_str(&rest[..taken]);
        rest = &rest[taken..];
    }
    Ok(expanded)
}

#[derive(Clone, Copy, PartialEq)]
enum Place {
    Outside,
    Quoted,
    Literal,
    Comment,
}

impl Place {
    fn after(self, character: char) -> Place {
        match (self, character) {
            (Place::Outside, '"') => Place::Quoted,
            (Place::Outside, '\'') => Place::Literal,
            (Place::Outside, '#') => Place::Comment,
            (Place::Quoted, '"') | (Place::Literal, '\'') | (Place::Comment, '\n') => {
                Place::Outside
            }
            (place, _) => place,
        }
    }
}

fn push_escaped(text: &mut String, value: &str) {
    for character in value.chars() {
        match character {
            '"' | '\\' => text.extend(['\\', character]),
            control if control.is_control() => {
                text.push_str(&format!("\\u{:04X}", u32::from(control)));
            }
            plain => text.push(plain),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::expand;

    fn with_port(text: &str) -> Result<String, (usize, String)> {
        expand(text, |_, name| {
            (name == "PORT").then(|| "80\"80".to_owned())
        })
    }

    #[test]
    fn variables_are_replaced_only_inside_double_quotes() {
        for (text, expected) in [
            (r#"a = "${PORT}""#, r#"a = "80\"80""#),
            (r#"a = "x${PORT}y""#, r#"a = "x80\"80y""#),
            (r#"a = "${NONE:-7}""#, r#"a = "7""#),
            (r#"a = '${PORT}'"#, r#"a = '${PORT}'"#),
            ("a = \"${PORT\n}\"", "a = \"${PORT\n}\""),
            (r#"# "${NONE}" "#, r#"# "${NONE}" "#),
            (r#"a = "\"${PORT}" "#, r#"a = "\"80\"80" "#),
            ("a = \"#b\" # ${NONE}", "a = \"#b\" # ${NONE}"),
        ] {
            assert_eq!(with_port(text), Ok(expected.to_owned()), "{text}");
        }
    }

    #[test]
    fn a_missing_variable_is_named_with_its_line() {
        assert_eq!(
            with_port("a = 1\nb = \"${NONE}\""),
            Err((2, "NONE".to_owned()))
        );
    }
}
