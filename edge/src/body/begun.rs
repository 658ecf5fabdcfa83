//! A body that was looked into, to see whether there is one.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::Method;
use http_body::{Body, Frame};
use http_body_util::BodyExt as _;

use super::BodyError;

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

/// The body, unless it ends where it begins. What a guest passes on has no length, also where
/// there is nothing to it.
pub async fn unless_empty<B>(mut body: B) -> Option<Begun<B>>
where
    B: Body<Data = Bytes, Error = BodyError> + Unpin,
{
    loop {
        let first = body.frame().await?;
        let is_nothing = |frame: &Frame<Bytes>| frame.data_ref().is_some_and(Bytes::is_empty);
        if !first.as_ref().is_ok_and(is_nothing) {
            return Some(Begun {
                first: Some(first),
                rest: body,
            });
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
}
