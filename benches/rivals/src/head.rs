//! The little of HTTP/1.1 that the origin and the load generator read.

/// Behind the empty line that ends the head, if it is there.
pub fn end(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    while at + 3 < bytes.len() {
        // The fourth byte tells how far to go on: most are no part of a line's end.
        at += match bytes[at + 3] {
            b'\n' if &bytes[at..at + 3] == b"\r\n\r" => return Some(at + 4),
            b'\n' => 2,
            b'\r' => 1,
            _ => 4,
        };
    }
    None
}

/// The status of a response's head.
pub fn status(head: &[u8]) -> Option<u16> {
    number(head.get(9..12)?)
}

/// The length that a head states for its body.
pub fn content_length(head: &[u8]) -> Option<usize> {
    const NAME: &[u8] = b"content-length:";
    head.split(|byte| *byte == b'\n')
        .find(|line| line.len() > NAME.len() && line[..NAME.len()].eq_ignore_ascii_case(NAME))
        .and_then(|line| number(line[NAME.len()..].trim_ascii()))
}

/// The path of a request's head, also where the target is a whole URL.
pub fn path(head: &[u8]) -> &str {
    let target = head.split(|byte| *byte == b' ').nth(1).unwrap_or_default();
    let target = std::str::from_utf8(target).unwrap_or_default();
    match target.strip_prefix("http://") {
        Some(rest) => rest.find('/').map_or("/", |at| &rest[at..]),
        None => target,
    }
}

/// Whether this is the last message of its connection.
pub fn closes(head: &[u8]) -> bool {
    const FIELD: &[u8] = b"connection: close";
    head.split(|byte| *byte == b'\n')
        .any(|line| line.trim_ascii().eq_ignore_ascii_case(FIELD))
}

fn number<T: std::str::FromStr>(digits: &[u8]) -> Option<T> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const RESPONSE: &[u8] =
        b"HTTP/1.1 204 No Content\r\nServer: x\r\ncontent-LENGTH:  17\r\n\r\nbody";

    #[test]
    fn a_head_ends_behind_the_first_empty_line() {
        assert_eq!(end(RESPONSE), Some(RESPONSE.len() - 4));
        assert_eq!(end(b"\r\n\r\n"), Some(4));
        for cut in 0..RESPONSE.len() - 4 {
            assert_eq!(end(&RESPONSE[..cut]), None, "cut at {cut}");
        }
    }

    #[test]
    fn a_head_is_read() {
        assert_eq!(status(RESPONSE), Some(204));
        assert_eq!(status(b"HTTP"), None);
        assert_eq!(content_length(RESPONSE), Some(17));
        assert_eq!(content_length(b"HTTP/1.1 200 OK\r\n\r\n"), None);
        assert_eq!(path(b"GET /c/1/2 HTTP/1.1\r\n"), "/c/1/2");
        assert_eq!(path(b"GET http://host/c/1 HTTP/1.1\r\n"), "/c/1");
        assert!(closes(b"GET / HTTP/1.1\r\nConnection: Close\r\n\r\n"));
        assert!(!closes(b"GET / HTTP/1.1\r\nHost: close\r\n\r\n"));
    }
}
