use anyhow::Context;
use spin_sdk::http::{IntoResponse, Method, Request, Response};
use spin_sdk::http_service;
use spin_sdk::key_value::Store;
use spin_sdk::variables;

/// Greets who comes, and counts the visits of each path. `DELETE` forgets them.
#[http_service]
async fn greet(request: Request) -> anyhow::Result<impl IntoResponse> {
    let path = request.uri().path();
    let visits = Store::open_default().await?;
    if request.method() == Method::DELETE {
        visits.delete(path).await?;
        return Ok(text(format!("{path} is forgotten\n")));
    }
    if path == "/visits" {
        return Ok(text(list(&visits).await?));
    }
    let count = count(&visits, path).await? + 1;
    visits.set(path, count.to_string().as_bytes()).await?;
    let greeting = variables::get("greeting").await?;
    Ok(text(format!("{greeting}, visitor {count} of {path}\n")))
}

async fn count(visits: &Store, path: &str) -> anyhow::Result<u64> {
    let Some(stored) = visits.get(path).await? else {
        return Ok(0);
    };
    String::from_utf8(stored)?
        .parse()
        .with_context(|| format!("the count of {path}"))
}

async fn list(visits: &Store) -> anyhow::Result<String> {
    let mut paths = visits.get_keys().await.collect().await?;
    paths.sort();
    let mut list = String::new();
    for path in paths {
        list += &format!("{path} {}\n", count(visits, &path).await?);
    }
    Ok(list)
}

fn text(body: String) -> Response<String> {
    Response::builder()
        .header("content-type", "text/plain; charset=utf-8")
        .body(body)
        .expect("the parts of this response are valid")
}
