//! Paths with places to capture.

use serde::Deserialize;

/// `/courses/{id}`: segments, some of which capture; `{rest...}` at the end captures the rest.
///
/// ```
/// let pattern: tidegate_sdk::Pattern = tidegate_sdk::from_json(r#""/courses/{id}""#)?;
/// assert_eq!(pattern.fit("/courses/7"), Some(vec![("id", "7")]));
/// # Ok::<(), String>(())
/// ```
#[derive(Clone, Debug, Deserialize)]
#[serde(transparent)]
pub struct Pattern(String);

/// What a path's segments held, by name, still percent-encoded.
pub type Captures<'a> = Vec<(&'a str, &'a str)>;

impl Pattern {
    /// What `path` holds in the pattern's places, if it fits. A trailing slash does not matter. Give it a
    /// [normalized path](crate::normalized_path), or one spelt another way gets around it.
    pub fn fit<'a>(&'a self, path: &'a str) -> Option<Captures<'a>> {
        let mut captures = Captures::new();
        let mut rest = trim(path);
        for segment in self.segments() {
            if let Some(name) = capture(segment) {
                if let Some(name) = name.strip_suffix("...") {
                    captures.push((name, rest));
                    return Some(captures);
                }
                let (value, after) = split(rest)?;
                captures.push((name, value));
                rest = after;
            } else {
                let (value, after) = split(rest)?;
                if value != segment && decoded_segment(value) != segment {
                    return None;
                }
                rest = after;
            }
        }
        rest.is_empty().then_some(captures)
    }

    /// The names it captures.
    pub fn captures(&self) -> impl Iterator<Item = &str> {
        self.segments()
            .filter_map(capture)
            .map(|name| name.strip_suffix("...").unwrap_or(name))
    }

    /// Whether it can fit anything.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check(&self) -> Result<(), String> {
        if !self.0.starts_with('/') {
            return Err(format!("path {:?} does not start with \"/\"", self.0));
        }
        let mut segments = self.segments().peekable();
        while let Some(segment) = segments.next() {
            match capture(segment) {
                Some(name) if name.ends_with("...") && segments.peek().is_some() => {
                    return Err(format!("{segment:?} must be the path's end"));
                }
                Some(name)
                    if name.trim_end_matches("...").contains(['{', '}', '.'])
                        || name.is_empty() =>
                {
                    return Err(format!("{segment:?} has no proper name"));
                }
                None if segment.contains(['{', '}']) => {
                    return Err(format!("{segment:?} must capture a whole segment"));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn segments(&self) -> impl Iterator<Item = &str> {
        trim(&self.0)
            .split('/')
            .filter(|segment| !segment.is_empty())
    }
}

fn capture(segment: &str) -> Option<&str> {
    segment.strip_prefix('{')?.strip_suffix('}')
}

fn trim(path: &str) -> &str {
    let path = path.strip_prefix('/').unwrap_or(path);
    path.strip_suffix('/').unwrap_or(path)
}

/// The first segment and what follows it; an empty segment is none.
fn split(path: &str) -> Option<(&str, &str)> {
    let (segment, rest) = path.split_once('/').unwrap_or((path, ""));
    (!segment.is_empty()).then_some((segment, rest))
}

/// A segment with its percent-encoding undone, so that a write to `/a/%31` reaches what the
/// origin tagged for `/a/1`; as it is when that is no text.
pub fn decoded_segment(segment: &str) -> String {
    let mut bytes = Vec::with_capacity(segment.len());
    let mut rest = segment.as_bytes();
    while let [first, after @ ..] = rest {
        let escaped = match (first, after) {
            (b'%', [high, low, ..]) => hex(*high).zip(hex(*low)),
            _ => None,
        };
        match escaped {
            Some((high, low)) => {
                bytes.push(high << 4 | low);
                rest = &after[2..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8(bytes).unwrap_or_else(|_| segment.to_owned())
}

fn hex(digit: u8) -> Option<u8> {
    let digit = char::from(digit).to_digit(16)?;
    u8::try_from(digit).ok()
}

#[cfg(test)]
mod tests {
    use super::Pattern;

    #[test]
    fn patterns_capture_segments() {
        type Row = (
            &'static str,
            &'static str,
            Option<&'static [(&'static str, &'static str)]>,
        );
        let rows: &[Row] = &[
            ("/courses/{id}", "/courses/7", Some(&[("id", "7")])),
            ("/courses/{id}", "/courses/7/", Some(&[("id", "7")])),
            ("/courses/{id}", "/courses", None),
            ("/courses/{id}", "/courses/", None),
            ("/courses/{id}", "/courses/7/x", None),
            ("/courses/{id}", "/users/7", None),
            ("/courses/{id}", "/c%6Furses/7", Some(&[("id", "7")])),
            ("/a/{b}/c/{d}", "/a/1/c/2", Some(&[("b", "1"), ("d", "2")])),
            ("/a/{rest...}", "/a/1/c", Some(&[("rest", "1/c")])),
            ("/a/{rest...}", "/a", Some(&[("rest", "")])),
            ("/", "/", Some(&[])),
            ("/", "/a", None),
        ];
        for (pattern, path, expected) in rows {
            let pattern = Pattern((*pattern).to_owned());
            assert_eq!(
                pattern.fit(path).as_deref(),
                *expected,
                "{pattern:?} {path}"
            );
        }
    }
}
