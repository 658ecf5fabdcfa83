//! A body that was looked into, to see whether there is one.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;

use super::BodyError;

/// How long is waited for the first part of a body. A guest that has none says so at once; one that
/// has some may want to see the response before it sends that.
const PATIENCE: Duration = Duration::from_secs(1);

/// A body with its first part before it.
pub struct Begun<B> {
    first: Option<Result<Frame<Bytes>, BodyError>>,
    rest: B,
}

/// Whether a request of this method is about what its body says (RFC 9110 §9.3.3, §9.3.4, RFC 5789),
/// so that there is one, if only an empty one. Others seldom have any.
pub fn is_about_its_body(method: &Method) -> bool {
    matches!(*method, Method::POST | Method::PUT | Method::PATCH)
}

/// The body, unless it ends where it begins: what a guest makes need not tell its length, also where
/// there is nothing to it. A body of which nothing is heard for a second is taken for one.
pub async fn unless_empty<B>(mut body: B) -> Option<Begun<B>>
where
    B: Body<Data = Bytes, Error = BodyError> + Unpin,
{
    let has_length = body.size_hint().exact().is_some_and(|length| length > 0);
    let first = match has_length {
        true => None,
        false => match tokio::time::timeout(PATIENCE, first_of(&mut body)).await {
            Ok(first) => Some(first?),
            Err(_) => None,
        },
    };
    Some(Begun { first, rest: body })
}

/// The first part with anything in it.
async fn first_of<B>(body: &mut B) -> Option<Result<Frame<Bytes>, BodyError>>
where
    B: Body<Data = Bytes, Error = BodyError> + Unpin,
{
    loop {
        let first = body.frame().await?;
        let is_nothing = |frame: &Frame<Bytes>| frame.data_ref().is_some_and(Bytes::is_empty);
        if !first.as_ref().is_ok_and(is_nothing) {
            return Some(first);
        }
    }
}

impl<B> Body for Begun<B>
where
    B: Body<Data = Bytes, Error = BodyError> + Unpin,
{
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.first.take() {
            Some(first) => Poll::Ready(Some(first)),
            None => Pin::new(&mut self.rest).poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.first.is_none() && self.rest.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let first = self.first.as_ref().and_then(|first| first.as_ref().ok());
        let first = first.and_then(Frame::data_ref).map_or(0, Bytes::len) as u64;
        let rest = self.rest.size_hint();
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower().saturating_add(first));
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper.saturating_add(first));
        }
        hint
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use http_body::Body as _;
    use http_body_util::BodyExt as _;

    use super::super::Body;
    use super::*;

    #[tokio::test]
    async fn what_was_looked_into_is_as_long_as_before() {
        let mut body = unless_empty(Body::from(Bytes::from("12345")))
            .await
            .unwrap();
        assert_eq!(body.size_hint().exact(), Some(5));
        let first = first_of(&mut body).await.transpose().unwrap();
        let begun = Begun {
            first: first.map(Ok),
            rest: Body::from(Bytes::from("678")),
        };
        assert_eq!(begun.size_hint().exact(), Some(8));
        assert_eq!(begun.collect().await.unwrap().to_bytes(), "12345678");
        assert!(unless_empty(Body::Empty).await.is_none());
    }
}
