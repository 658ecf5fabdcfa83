//! A fixture: middleware. It counts how deep a request is in the chain (`x-depth`) and says so in the
//! response (`x-gate`); what else it does is in the request's field `gate`.

use bytes::Bytes;
use futures::channel::mpsc;
use futures::{SinkExt, StreamExt};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use spin_sdk::http::{
    BoxBody, EmptyBody, FullBody, HeaderValue, IntoResponse, Method, Request, Response, StatusCode,
    Uri, box_body, next,
};
use spin_sdk::{http_service, wasip3};

#[http_service]
async fn handle(mut request: Request) -> anyhow::Result<impl IntoResponse> {
    let depth = request.headers().get("x-depth");
    let depth: u32 = depth
        .and_then(|depth| depth.to_str().ok()?.parse().ok())
        .unwrap_or(0);
    let order = request.headers_mut().remove("gate");
    let order = order
        .as_ref()
        .and_then(|order| order.to_str().ok())
        .unwrap_or("");
    request
        .headers_mut()
        .insert("x-depth", HeaderValue::from(depth + 1));
    request.headers_mut().remove("x-removed");
    match order {
        // What this middleware was told.
        "told" => {
            let mut told = format!("{} {}\n", request.method(), request.uri());
            for (name, value) in request.headers() {
                told += &format!("{name}: {}\n", String::from_utf8_lossy(value.as_bytes()));
            }
            return Ok(Response::new(box_body(FullBody::new(Bytes::from(told)))));
        }
        "deny" => {
            let mut denied = Response::new(text("not without a ticket\n"));
            *denied.status_mut() = StatusCode::UNAUTHORIZED;
            denied
                .headers_mut()
                .insert("www-authenticate", HeaderValue::from_static("Ticket"));
            return Ok(denied);
        }
        "trap" => panic!("as asked"),
        "loop" => loop {
            std::hint::black_box(());
        },
        // Reads the body before it fails.
        "read-trap" => {
            request.into_body().collect().await?;
            panic!("as asked");
        }
        "fail" => anyhow::bail!("as asked"),
        "rewrite" => *request.uri_mut() = at(request.uri(), None, "/rewritten?a=b")?,
        "elsewhere" => *request.uri_mut() = at(request.uri(), Some("elsewhere.test"), "/")?,
        "post" => {
            let (mut head, _) = request.into_parts();
            head.method = Method::POST;
            let response = next(Request::from_parts(
                head,
                FullBody::new(Bytes::from("of the gate")),
            ))
            .await?;
            return Ok(response.map(box_body));
        }
        "crumbs" => {
            for crumb in ["a=1", "b=2"] {
                let crumb = HeaderValue::from_static(crumb);
                request.headers_mut().append("cookie", crumb);
            }
        }
        // Says who asks, and in Spin's name what it asks for.
        "claim" => {
            for name in ["x-forwarded-host", "x-forwarded-proto", "spin-full-url"] {
                let claimed = HeaderValue::from_static("claimed");
                request.headers_mut().insert(name, claimed);
            }
        }
        "connect" => *request.method_mut() = Method::CONNECT,
        "twice" => {
            let first = Request::builder()
                .uri(request.uri())
                .body(EmptyBody::new())?;
            next(first).await?.into_body().collect().await?;
        }
        _ => {}
    }
    let mut response = next(request).await?;
    response
        .headers_mut()
        .append("x-gate", HeaderValue::from(depth + 1));
    response.headers_mut().remove("x-secret");
    Ok(match order {
        "trap-after" => panic!("as asked"),
        // A response of its own, with nothing of what came.
        "instead" => return Ok(Response::new(text("something else"))),
        "status" => {
            *response.status_mut() = StatusCode::IM_A_TEAPOT;
            response.map(box_body)
        }
        "interim" => {
            *response.status_mut() = StatusCode::EARLY_HINTS;
            response.map(box_body)
        }
        // Each part in upper case, as it comes.
        "shout" => {
            response.headers_mut().remove("content-length");
            response.map(|body| {
                box_body(body.map_frame(|frame| {
                    frame.map_data(|data| Bytes::from(data.to_ascii_uppercase()))
                }))
            })
        }
        // Another body, of another length than the head says.
        "lie" => {
            let length = HeaderValue::from_static("5");
            response.headers_mut().insert("content-length", length);
            response.map(|_| text("nothing of that length"))
        }
        "break-off" => {
            // No part is taken before the one before it has left this guest.
            let (mut sender, parts) = mpsc::channel::<Bytes>(0);
            let body = StreamBody::new(parts.map(|part| anyhow::Ok(Frame::data(part))));
            wasip3::spawn(async move {
                for part in ["first", "second"] {
                    let _ = sender.send(Bytes::from(part)).await;
                    let _ = sender.flush().await;
                }
                panic!("as asked");
            });
            response.headers_mut().remove("content-length");
            response.map(|_| box_body(body))
        }
        _ => response.map(box_body),
    })
}

fn at(uri: &Uri, authority: Option<&str>, path: &str) -> anyhow::Result<Uri> {
    let mut parts = uri.clone().into_parts();
    if let Some(authority) = authority {
        parts.authority = Some(authority.parse()?);
    }
    parts.path_and_query = Some(path.parse()?);
    Ok(Uri::from_parts(parts)?)
}

fn text(text: &'static str) -> BoxBody {
    box_body(FullBody::new(Bytes::from(text)))
}
