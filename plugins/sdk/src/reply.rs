//! Answers that filters give instead of the origin.

use crate::Reply;

/// An answer as `application/problem+json` (RFC 9457) that no cache keeps.
pub fn problem(status: u16, title: &str) -> Reply {
    let body = serde_json::json!({ "title": title, "status": status });
    Reply {
        status,
        headers: vec![
            (
                "content-type".to_owned(),
                b"application/problem+json".to_vec(),
            ),
            ("cache-control".to_owned(), b"no-store".to_vec()),
        ],
        body: body.to_string().into_bytes(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    #[test]
    fn a_problem_says_its_status_and_title() {
        let reply = super::problem(401, "a \"key\" is required");
        assert_eq!(reply.status, 401);
        assert_eq!(
            String::from_utf8(reply.body).unwrap(),
            r#"{"status":401,"title":"a \"key\" is required"}"#
        );
    }
}
