//! How the head of a request is read, row by row (RFC 9112 §2, §3; RFC 9110 §7.2).

use super::{sent, statuses};
use crate::support::{Edge, Origin};

/// The rule, a whole head, and the status or the target that the origin sees.
const HEADS: &[(&str, &str, Result<&str, u16>)] = &[
    (
        "RFC 9112 §2.2, an empty line first",
        "\r\nGET /x HTTP/1.1\r\nhost: a\r\n\r\n",
        Ok("/x"),
    ),
    (
        "RFC 9112 §3, two spaces",
        "GET  / HTTP/1.1\r\nhost: a\r\n\r\n",
        Err(400),
    ),
    (
        "RFC 9112 §3, a tab",
        "GET\t/ HTTP/1.1\r\nhost: a\r\n\r\n",
        Err(400),
    ),
    (
        "RFC 9112 §3, a space first",
        " GET / HTTP/1.1\r\nhost: a\r\n\r\n",
        Err(400),
    ),
    (
        "RFC 9112 §3, a space in the target",
        "GET /a b HTTP/1.1\r\nhost: a\r\n\r\n",
        Err(400),
    ),
    (
        "RFC 9112 §3, a space behind the version",
        "GET / HTTP/1.1 \r\nhost: a\r\n\r\n",
        Err(400),
    ),
    (
        "RFC 9112 §2.3, a minor version nobody knows",
        "GET / HTTP/1.2\r\nhost: a\r\n\r\n",
        Err(400),
    ),
    (
        "RFC 9112 §2.3",
        "GET / HTTP/2.0\r\nhost: a\r\n\r\n",
        Err(400),
    ),
    (
        "RFC 9112 §2.3",
        "GET / HTTP/3.0\r\nhost: a\r\n\r\n",
        Err(400),
    ),
    (
        "RFC 9112 §2.3, case",
        "GET / http/1.1\r\nhost: a\r\n\r\n",
        Err(400),
    ),
    ("HTTP/0.9", "GET /\r\n\r\n", Err(400)),
    (
        "RFC 9110 §9.1, another method",
        "get /x HTTP/1.1\r\nhost: a\r\n\r\n",
        Ok("/x"),
    ),
    (
        "RFC 9110 §9.1, no token",
        "G(T / HTTP/1.1\r\nhost: a\r\n\r\n",
        Err(400),
    ),
    ("RFC 9112 §3.2, no Host", "GET / HTTP/1.1\r\n\r\n", Err(400)),
    (
        "RFC 9112 §3.2, two",
        "GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n",
        Err(400),
    ),
    (
        "RFC 9112 §3.2, twice the same",
        "GET / HTTP/1.1\r\nhost: a\r\nhost: a\r\n\r\n",
        Err(400),
    ),
    (
        "RFC 9112 §3.2, an empty one",
        "GET / HTTP/1.1\r\nhost:\r\n\r\n",
        Err(400),
    ),
    (
        "RFC 9112 §3.2, a list",
        "GET / HTTP/1.1\r\nhost: a, b\r\n\r\n",
        Err(400),
    ),
    (
        "RFC 9110 §7.2, a path",
        "GET / HTTP/1.1\r\nhost: a/b\r\n\r\n",
        Err(400),
    ),
    (
        "RFC 9110 §7.2, a query",
        "GET / HTTP/1.1\r\nhost: a?b\r\n\r\n",
        Err(400),
    ),
    (
        "RFC 9110 §7.2, a fragment",
        "GET / HTTP/1.1\r\nhost: a#b\r\n\r\n",
        Err(400),
    ),
    (
        "RFC 9110 §4.2.4, a user",
        "GET / HTTP/1.1\r\nhost: u@a\r\n\r\n",
        Err(400),
    ),
    (
        "RFC 3986 §3.2.3, a port too large",
        "GET / HTTP/1.1\r\nhost: a:70000\r\n\r\n",
        Err(400),
    ),
    (
        "RFC 3986 §3.2.3, no number",
        "GET / HTTP/1.1\r\nhost: a:x\r\n\r\n",
        Err(400),
    ),
    (
        "RFC 3986 §3.2.3, a signed port",
        "GET / HTTP/1.1\r\nhost: a:+80\r\n\r\n",
        Err(400),
    ),
    (
        "RFC 3986 §3.2.3, port 0 is one",
        "GET /x HTTP/1.1\r\nhost: a:0\r\n\r\n",
        Ok("/x"),
    ),
    (
        "RFC 3986 §3.2.2, a space",
        "GET / HTTP/1.1\r\nhost: a b\r\n\r\n",
        Err(400),
    ),
    (
        "RFC 9112 §3.2, a space before the colon",
        "GET / HTTP/1.1\r\nhost : a\r\n\r\n",
        Err(400),
    ),
    (
        "RFC 9112 §5.2, folded",
        "GET / HTTP/1.1\r\nhost:\r\n a\r\n\r\n",
        Err(400),
    ),
    (
        "RFC 9112 §5.2, a space before the first",
        "GET / HTTP/1.1\r\n host: a\r\n\r\n",
        Err(400),
    ),
    (
        "RFC 9112 §3.2.2, another Host",
        "GET http://a/ HTTP/1.1\r\nhost: b\r\n\r\n",
        Err(400),
    ),
    (
        "RFC 9112 §3.2.2, no Host beside",
        "GET http://a/ HTTP/1.0\r\n\r\n",
        Ok("/"),
    ),
    (
        "RFC 9110 §4.2.4, a user",
        "GET http://u:p@a/ HTTP/1.1\r\nhost: a\r\n\r\n",
        Err(400),
    ),
    (
        "RFC 9112 §3.2, another scheme",
        "GET ftp://a/ HTTP/1.1\r\nhost: a\r\n\r\n",
        Err(400),
    ),
    (
        "RFC 9112 §3.2.2, two at the beginning",
        "GET //b/x HTTP/1.1\r\nhost: a\r\n\r\n",
        Ok("//b/x"),
    ),
    (
        "RFC 3986 §3.5, a fragment is not sent on",
        "GET /x#y HTTP/1.1\r\nhost: a\r\n\r\n",
        Ok("/x"),
    ),
    (
        "RFC 3986 §2, a NUL",
        "GET /x\0 HTTP/1.1\r\nhost: a\r\n\r\n",
        Err(400),
    ),
    (
        "RFC 3986 §2, a control character",
        "GET /x\x01 HTTP/1.1\r\nhost: a\r\n\r\n",
        Err(400),
    ),
    (
        "RFC 3986 §2, DEL",
        "GET /x\x7f HTTP/1.1\r\nhost: a\r\n\r\n",
        Err(400),
    ),
    (
        "RFC 3986 §2, a bare CR",
        "GET /x\rHTTP/1.1 HTTP/1.1\r\nhost: a\r\n\r\n",
        Err(400),
    ),
    (
        "RFC 3986 §2, a backslash, as it came",
        "GET /x\\y HTTP/1.1\r\nhost: a\r\n\r\n",
        Ok("/x\\y"),
    ),
    (
        "RFC 3986 §2, as it came",
        "GET /é HTTP/1.1\r\nhost: a\r\n\r\n",
        Ok("/é"),
    ),
    (
        "RFC 3986 §2.1, as it came",
        "GET /%0d%0a%00%zz HTTP/1.1\r\nhost: a\r\n\r\n",
        Ok("/%0d%0a%00%zz"),
    ),
];

#[tokio::test]
async fn a_head_is_read_in_one_way_or_refused() {
    let origin = Origin::answers("x");
    let edge = Edge::before(&origin).start();
    for (rule, head, expected) in HEADS {
        let before = origin.requests();
        let mut connection = sent(&edge, head.as_bytes()).await;
        let statuses = statuses(&mut connection).await;
        match expected {
            Ok(target) => {
                assert_eq!(statuses, [200], "{rule}: {head:?}");
                // Over another host it may be stored already.
                assert_eq!(
                    (origin.requests() - before, origin.last().target.as_str()),
                    (1, *target),
                    "{rule}: {head:?}"
                );
            }
            Err(status) => {
                assert_eq!(
                    (statuses.as_slice(), origin.requests() - before),
                    (&[*status][..], 0),
                    "{rule}: {head:?}"
                );
            }
        }
    }
}

#[tokio::test]
async fn a_target_that_is_no_text_is_refused() {
    let origin = Origin::answers("x");
    let edge = Edge::before(&origin).start();
    let mut connection = sent(&edge, b"GET /\xff\xfe HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert_eq!(statuses(&mut connection).await, [400]);
    assert_eq!(origin.requests(), 0);
}
