//! One spelling for a path (RFC 3986 §6.2.2).

/// A path with its unreserved characters decoded, the rest of its percent-encoding in capitals, its
/// slashes merged and its dot segments removed: for filters that go by paths, so that nobody gets
/// around them by spelling a path another way. An encoded slash stays what it is: a character of its
/// segment.
///
/// ```
/// assert_eq!(tidegate_sdk::normalized_path("//a/./%62/%2e%2e/c%2f"), "/a/c%2F");
/// ```
pub fn normalized_path(path: &str) -> String {
    without_dots(&decoded_once(path))
}

fn without_dots(path: &str) -> String {
    if !path.starts_with('/') {
        return path.to_owned();
    }
    let mut segments: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => {
                segments.pop();
            }
            name => segments.push(name),
        }
    }
    let ends_open = ["/", "/.", "/.."].iter().any(|end| path.ends_with(end));
    let end = if ends_open && !segments.is_empty() {
        "/"
    } else {
        ""
    };
    format!("/{}{end}", segments.join("/"))
}

fn decoded_once(path: &str) -> String {
    let mut text = String::with_capacity(path.len());
    let mut rest = path;
    while let Some(at) = rest.find('%') {
        text.push_str(&rest[..at]);
        match rest.get(at + 1..at + 3).and_then(decoded) {
            Some(byte) if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) => {
                text.push(char::from(byte));
            }
            Some(byte) => text.push_str(&format!("%{byte:02X}")),
            None => {
                text.push('%');
                rest = &rest[at + 1..];
                continue;
            }
        }
        rest = &rest[at + 3..];
    }
    text.push_str(rest);
    text
}

/// The byte of two digits; `from_str_radix` alone would take a sign for one.
fn decoded(digits: &str) -> Option<u8> {
    let are_digits = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    u8::from_str_radix(digits, 16).ok().filter(|_| are_digits)
}

#[cfg(test)]
mod tests {
    use super::normalized_path;

    #[test]
    fn spellings_of_a_path_are_one() {
        for (path, expected) in [
            ("/a/b", "/a/b"),
            ("/%61/%7Eb", "/a/~b"),
            ("/a%2fb%C3%a4", "/a%2Fb%C3%A4"),
            ("/100%", "/100%"),
            ("/%zz%4", "/%zz%4"),
            ("/%%61", "/%a"),
            ("/%+1", "/%+1"),
            ("*", "*"),
            ("/", "/"),
            ("//", "/"),
            ("/a//b/", "/a/b/"),
            ("/./a/.", "/a/"),
            ("/a/%2e%2E/b", "/b"),
            ("/a/b/..", "/a/"),
            ("/../a", "/a"),
            ("/a/..", "/"),
            ("/a%2f..", "/a%2F.."),
            ("/.well-known/...", "/.well-known/..."),
        ] {
            assert_eq!(normalized_path(path), expected);
        }
    }
}
