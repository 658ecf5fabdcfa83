//! A body that was looked into, to see whether there is one.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame};
use http_body_util::BodyExt as _;

use crate::body::{Arriving, BodyError};

/// A body with its first part before it.
struct Begun {
    first: Option<Result<Frame<Bytes>, BodyError>>,
    rest: Arriving,
}

/// The body, unless it ends where it begins. What a guest passes on has no length, also where
/// there is nothing to it.
pub(super) async fn unless_empty(mut body: Arriving) -> Option<Arriving> {
    let first = body.frame().await?;
    Some(Arriving::guest(Begun {
        first: Some(first),
        rest: body,
    }))
}

impl Body for Begun {
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
