//! An upgrade that the origin granted: the 101 goes to the client, and bytes follow (RFC 9110 §7.8).

use http::header::{CONNECTION, UPGRADE};
use http::response::Parts;
use http::{HeaderMap, HeaderValue, Response, StatusCode};

use crate::body::Body;
use crate::exchange::Upgrade;
use crate::upstream::Tunnel;

/// The origin's side of a tunnel, and what to tell the client of it.
pub(super) struct Switched {
    tunnel: Tunnel,
    upgrade: Box<Upgrade>,
    protocol: HeaderValue,
}

impl Switched {
    /// What came of an upgrade, if anything did; `headers` are the origin's own.
    pub(super) fn of(
        tunnel: Option<Tunnel>,
        upgrade: Option<Box<Upgrade>>,
        headers: &HeaderMap,
    ) -> Option<Switched> {
        Some(Switched {
            tunnel: tunnel?,
            upgrade: upgrade?,
            protocol: headers.get(UPGRADE)?.clone(),
        })
    }

    /// The answer that lets the client switch too. A filter may have made something else of it:
    /// then there is no tunnel.
    pub(super) fn answer(self, mut parts: Parts) -> Response<Body> {
        if parts.status == StatusCode::SWITCHING_PROTOCOLS {
            parts
                .headers
                .insert(CONNECTION, HeaderValue::from_static("upgrade"));
            parts.headers.insert(UPGRADE, self.protocol);
            tokio::spawn(self.tunnel.join(self.upgrade.client));
        }
        Response::from_parts(parts, Body::Empty)
    }
}
