//! Where the body of a request ends, row by row (RFC 9112 §6, §7).

use super::{assert_one_framing, echoing, sent, statuses};
use crate::support::Edge;

/// What becomes of a request.
#[derive(Clone, Copy, Debug)]
enum Fate {
    /// Refused with 400 before anything is forwarded, and the connection is closed.
    Refused,
    /// The same with another status.
    With(u16),
    /// Forwarded, with this body, and what follows is the next request.
    Forwarded(&'static str),
    /// Forwarded with this body, and the connection ends: nothing that follows is a request.
    Last(&'static str),
    /// It begins to be forwarded, and breaks off at the origin too.
    Broken,
}

use Fate::{Broken, Forwarded, Last, Refused, With};

/// The rule, everything of a POST behind the request line and `Host`, and what becomes of it.
const BODIES: &[(&str, &str, Fate)] = &[
    (
        "RFC 9110 §8.6, twice the same",
        "content-length: 4\r\ncontent-length: 4\r\n\r\ntext",
        Forwarded("text"),
    ),
    (
        "RFC 9112 §6.3, two lengths",
        "content-length: 4\r\ncontent-length: 5\r\n\r\ntext",
        Refused,
    ),
    (
        "RFC 9112 §6.3, two lengths",
        "content-length: 0\r\ncontent-length: 44\r\n\r\n",
        Refused,
    ),
    (
        "RFC 9110 §8.6, a sign",
        "content-length: +4\r\n\r\ntext",
        Refused,
    ),
    (
        "RFC 9110 §8.6, a sign",
        "content-length: -4\r\n\r\ntext",
        Refused,
    ),
    (
        "RFC 9110 §8.6, a list",
        "content-length: 4, 4\r\n\r\ntext",
        Refused,
    ),
    (
        "RFC 9110 §8.6, a list",
        "content-length: 4, 44\r\n\r\ntext",
        Refused,
    ),
    (
        "RFC 9110 §5.5, spaces around",
        "content-length:  4 \r\n\r\ntext",
        Forwarded("text"),
    ),
    (
        "RFC 9110 §8.6, a space inside",
        "content-length: 4 4\r\n\r\ntext",
        Refused,
    ),
    (
        "RFC 9110 §8.6, zeros",
        "content-length: 004\r\n\r\ntext",
        Forwarded("text"),
    ),
    (
        "RFC 9110 §8.6, hexadecimal",
        "content-length: 0x4\r\n\r\ntext",
        Refused,
    ),
    (
        "RFC 9110 §8.6, a decimal",
        "content-length: 4.0\r\n\r\ntext",
        Refused,
    ),
    (
        "RFC 9110 §8.6, empty",
        "content-length:\r\n\r\ntext",
        Refused,
    ),
    (
        "RFC 9110 §8.6, over 2^64",
        "content-length: 18446744073709551620\r\n\r\ntext",
        Refused,
    ),
    (
        "RFC 9110 §8.6, over the limit",
        "content-length: 9223372036854775808\r\n\r\ntext",
        With(413),
    ),
    (
        "RFC 9112 §5.1, a space before the colon",
        "content-length : 4\r\n\r\ntext",
        Refused,
    ),
    (
        "RFC 9112 §5.1, a tab before the colon",
        "content-length\t: 4\r\n\r\ntext",
        Refused,
    ),
    (
        "RFC 9112 §5.2, a folded length",
        "content-length:\r\n 4\r\n\r\ntext",
        Refused,
    ),
    (
        "another field",
        "content_length: 44\r\ncontent-length: 4\r\n\r\ntext",
        Forwarded("text"),
    ),
    (
        "RFC 9110 §7.6.1, a nominated length",
        "connection: content-length\r\ncontent-length: 4\r\n\r\ntext",
        Forwarded("text"),
    ),
    (
        "RFC 9112 §6.3, a length before chunked",
        "content-length: 4\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        Last("abc"),
    ),
    (
        "RFC 9112 §6.3, a length behind chunked",
        "transfer-encoding: chunked\r\ncontent-length: 4\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        Last("abc"),
    ),
    (
        "RFC 9112 §6.3, no length beside chunked",
        "transfer-encoding: chunked\r\ncontent-length: x\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        Last("abc"),
    ),
    (
        "RFC 9112 §6.1, twice",
        "transfer-encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
        With(501),
    ),
    (
        "RFC 9112 §6.1, two lines",
        "transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        With(501),
    ),
    (
        "RFC 9112 §6.1, not last",
        "transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n\r\n0\r\n\r\n",
        Refused,
    ),
    (
        "RFC 9112 §6.1, another first",
        "transfer-encoding: identity\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        With(501),
    ),
    (
        "RFC 9112 §6.3, another word",
        "transfer-encoding: xchunked\r\n\r\n0\r\n\r\n",
        Refused,
    ),
    (
        "RFC 9112 §6.3, quoted",
        "transfer-encoding: \"chunked\"\r\n\r\n0\r\n\r\n",
        Refused,
    ),
    (
        "RFC 9112 §6.3, with a parameter",
        "transfer-encoding: chunked;q=1\r\n\r\n0\r\n\r\n",
        Refused,
    ),
    (
        "RFC 9110 §5.6.1, an empty member",
        "transfer-encoding: ,chunked\r\n\r\n0\r\n\r\n",
        With(501),
    ),
    (
        "RFC 9110 §5.6.1, an empty member",
        "transfer-encoding: chunked,\r\n\r\n0\r\n\r\n",
        Refused,
    ),
    (
        "RFC 9112 §6.3, empty",
        "transfer-encoding:\r\n\r\n0\r\n\r\n",
        Refused,
    ),
    (
        "RFC 9110 §5.5, spaces around",
        "transfer-encoding: \t chunked \r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        Forwarded("abc"),
    ),
    (
        "RFC 9110 §5.5, a vertical tab",
        "transfer-encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
        Refused,
    ),
    (
        "RFC 9112 §6.1, any case",
        "Transfer-Encoding: CHUNKED\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        Forwarded("abc"),
    ),
    (
        "RFC 9112 §5.1, a space before the colon",
        "transfer-encoding : chunked\r\n\r\n0\r\n\r\n",
        Refused,
    ),
    (
        "RFC 9112 §5.2, a folded coding",
        "transfer-encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
        Refused,
    ),
    (
        "another field",
        "transfer_encoding: chunked\r\ncontent-length: 4\r\n\r\ntext",
        Forwarded("text"),
    ),
    (
        "RFC 9110 §7.6.1, a nominated coding",
        "connection: transfer-encoding\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        Forwarded("abc"),
    ),
    (
        "RFC 9112 §7.1.1, extensions",
        "transfer-encoding: chunked\r\n\r\n3;a=b;c=\"d\"\r\nabc\r\n0;e\r\n\r\n",
        Forwarded("abc"),
    ),
    (
        "RFC 9112 §7.1.1, LF in an extension",
        "transfer-encoding: chunked\r\n\r\n3;a\n\r\nabc\r\n0\r\n\r\n",
        Broken,
    ),
    (
        "RFC 9112 §7.1.1, CR in an extension",
        "transfer-encoding: chunked\r\n\r\n3;a\rb\r\nabc\r\n0\r\n\r\n",
        Broken,
    ),
    (
        "RFC 9112 §7.1, any zeros",
        "transfer-encoding: chunked\r\n\r\n003\r\nabc\r\n000\r\n\r\n",
        Forwarded("abc"),
    ),
    (
        "RFC 9112 §7.1, a prefix",
        "transfer-encoding: chunked\r\n\r\n0x3\r\nabc\r\n0\r\n\r\n",
        Broken,
    ),
    (
        "RFC 9112 §7.1, a sign",
        "transfer-encoding: chunked\r\n\r\n+3\r\nabc\r\n0\r\n\r\n",
        Broken,
    ),
    (
        "RFC 9112 §7.1, a sign",
        "transfer-encoding: chunked\r\n\r\n-1\r\nabc\r\n0\r\n\r\n",
        Broken,
    ),
    (
        "RFC 9112 §7.1, over 2^64",
        "transfer-encoding: chunked\r\n\r\n10000000000000003\r\nabc\r\n0\r\n\r\n",
        Broken,
    ),
    (
        "RFC 9112 §7.1, 2^64 - 1",
        "transfer-encoding: chunked\r\n\r\nffffffffffffffff\r\nabc\r\n0\r\n\r\n",
        Broken,
    ),
    (
        "RFC 9112 §7.1, no size",
        "transfer-encoding: chunked\r\n\r\n\r\nabc\r\n0\r\n\r\n",
        Broken,
    ),
    (
        "RFC 9112 §7.1, too short a size",
        "transfer-encoding: chunked\r\n\r\n2\r\nabc\r\n0\r\n\r\n",
        Broken,
    ),
    (
        "RFC 9112 §7.1, LF behind a size",
        "transfer-encoding: chunked\r\n\r\n3\nabc\r\n0\r\n\r\n",
        Broken,
    ),
    (
        "RFC 9112 §7.1, LF behind a chunk",
        "transfer-encoding: chunked\r\n\r\n3\r\nabc\n0\r\n\r\n",
        Broken,
    ),
    (
        "RFC 9112 §7.1, LF at the end",
        "transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\n\n",
        Broken,
    ),
    (
        "RFC 9112 §7.1.2, no colon in a trailer",
        "transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nnothing\r\n\r\n",
        Broken,
    ),
    (
        "RFC 9110 §6.5.1, a length in a trailer",
        "transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\ncontent-length: 44\r\n\r\n",
        Forwarded("abc"),
    ),
    (
        "RFC 9112 §2.2, lines that end with LF",
        "content-length: 4\n\ntext",
        Forwarded("text"),
    ),
    (
        "RFC 9112 §2.2, LF before a field",
        "x-a: b\ncontent-length: 4\r\n\r\ntext",
        Forwarded("text"),
    ),
    (
        "RFC 9112 §2.2, CR before what would be a field",
        "x-a: b\rcontent-length: 4\r\n\r\ntext",
        Refused,
    ),
    (
        "RFC 9110 §5.5, a NUL",
        "x-a: b\0\r\ncontent-length: 4\r\n\r\ntext",
        Refused,
    ),
    (
        "RFC 9112 §5, no name",
        ": a\r\ncontent-length: 4\r\n\r\ntext",
        Refused,
    ),
    (
        "RFC 9112 §5, no colon",
        "nothing\r\ncontent-length: 4\r\n\r\ntext",
        Refused,
    ),
];

#[tokio::test]
async fn a_body_ends_where_everybody_says_it_ends() {
    for (rule, rest, fate) in BODIES {
        let origin = echoing();
        let edge = Edge::before(&origin).start();
        let rule = format!("{rule}: {rest:?}");
        let request = format!(
            "POST /first HTTP/1.1\r\nhost: edge.test\r\n{rest}GET /next HTTP/1.1\r\nhost: edge.test\r\n\r\n"
        );
        let mut connection = sent(&edge, request.as_bytes()).await;
        let statuses = statuses(&mut connection).await;
        let asked: Vec<_> = (0..origin.requests())
            .map(|index| origin.request(index))
            .collect();
        let targets: Vec<_> = asked.iter().map(|asked| asked.target.as_str()).collect();
        assert_one_framing(&origin, &rule);
        match fate {
            Refused | With(_) => {
                let status = if let With(status) = fate {
                    *status
                } else {
                    400
                };
                assert_eq!(statuses, [status], "{rule}");
                assert!(targets.is_empty(), "{rule}: {targets:?}");
            }
            Forwarded(body) => {
                assert_eq!(
                    (statuses.as_slice(), targets.as_slice()),
                    (&[200, 200][..], &["/first", "/next"][..]),
                    "{rule}"
                );
                assert_eq!(asked[0].body, body.as_bytes(), "{rule}");
            }
            Last(body) => {
                assert_eq!(
                    (statuses.as_slice(), targets.as_slice()),
                    (&[200][..], &["/first"][..]),
                    "{rule}"
                );
                assert_eq!(asked[0].body, body.as_bytes(), "{rule}");
            }
            // The origin never sees the end of it.
            Broken => {
                assert!(
                    statuses.len() <= 1 && statuses.iter().all(|status| *status >= 400),
                    "{rule}: {statuses:?}"
                );
                assert!(targets.is_empty(), "{rule}: {targets:?}");
            }
        }
    }
}
