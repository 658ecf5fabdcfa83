use anyhow::Context;
use spin_sdk::http::{IntoResponse, Method, Request, Response};
use spin_sdk::http_component;
use spin_sdk::key_value::Store;
use spin_sdk::variables;

/// Greets who comes, and counts the visits of each path. `DELETE` forgets them.
#[http_component]
fn greet(request: Request) -> anyhow::Result<impl IntoResponse> {
    let path = request.path();
    let visits = Store::open_default()?;
    if *request.method() == Method::Delete {
        visits.delete(path)?;
        return Ok(text(format!("{path} is forgotten\n")));
    }
    if path == "/visits" {
        return Ok(text(list(&visits)?));
    }
    let count = count(&visits, path)? + 1;
    visits.set(path, count.to_string().as_bytes())?;
    let greeting = variables::get("greeting")?;
    Ok(text(format!("{greeting}, visitor {count} of {path}\n")))
}

fn count(visits: &Store, path: &str) -> anyhow::Result<u64> {
    let Some(stored) = visits.get(path)? else {
        return Ok(0);
    };
    String::from_utf8(stored)?
        .parse()
        .with_context(|| format!("the count of {path}"))
}

fn list(visits: &Store) -> anyhow::Result<String> {
    let mut paths = visits.get_keys()?;
    paths.sort();
    let mut list = String::new();
    for path in paths {
        list += &format!("{path} {}\n", count(visits, &path)?);
    }
    Ok(list)
}

fn text(body: String) -> Response {
    Response::builder()
        .status(200)
        .header("content-type", "text/plain; charset=utf-8")
        .body(body)
        .build()
}
