//! What requests bring, read so that every refusal is a problem and names the field at fault.

use std::time::Duration;

use axum::{
    extract::{FromRequest, FromRequestParts, Request},
    http::{StatusCode, header, request::Parts},
};
use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::timeout;
use utoipa::openapi::schema::{Object, ObjectBuilder, SchemaType, Type};

use crate::http::error::Problem;

/// How long a body may take to come.
const BODY: Duration = Duration::from_secs(30);

/// A JSON body.
pub(crate) struct Json<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        parse(&read(request, state).await?).map(Self)
    }
}

/// A JSON body that is one thing, or an array of such things.
pub(crate) struct OneOrMany<T>(pub(crate) Vec<T>);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for OneOrMany<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let body = read(request, state).await?;
        if body.trim_ascii_start().starts_with(b"[") {
            parse(&body).map(Self)
        } else {
            parse(&body).map(|one| Self(vec![one]))
        }
    }
}

/// The bytes of a JSON body.
pub(crate) async fn read<S: Send + Sync>(request: Request, state: &S) -> Result<Bytes, Problem> {
    if !is_json(&request) {
        return Err(Problem::not_json());
    }
    timeout(BODY, Bytes::from_request(request, state))
        .await
        .map_err(|_| Problem::too_slow())?
        .map_err(|rejection| {
            if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
                Problem::too_large()
            } else {
                Problem::malformed(rejection.body_text())
            }
        })
}

/// The query's parameters.
pub(crate) struct Query<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let query = axum::extract::Query::from_request_parts(parts, state).await;
        query.map(|query| Self(query.0)).map_err(|rejection| {
            let text = rejection.body_text();
            let problem = Problem::malformed(text.as_str());
            match parameter(&text) {
                Some(name) => problem.field(name),
                None => problem,
            }
        })
    }
}

/// The parameter that a refusal of the query is about: `...: limit: invalid digit`, or ``...: missing field `q` ``.
fn parameter(refusal: &str) -> Option<&str> {
    let (_, rest) = refusal.split_once(": ")?;
    let name = match rest.strip_prefix("missing field `") {
        Some(rest) => rest.split_once('`')?.0,
        None => rest.split_once(": ")?.0,
    };
    let is_name = name
        .bytes()
        .all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    (is_name && !name.is_empty()).then_some(name)
}

/// The path's variable parts. One that cannot be what it stands for, such as a word for a number, is not found.
pub(crate) struct Path<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path = axum::extract::Path::from_request_parts(parts, state).await;
        path.map(|path| Self(path.0))
            .map_err(|rejection| Problem::not_found(rejection.body_text()))
    }
}

fn is_json(request: &Request) -> bool {
    let Some(Ok(media_type)) = request
        .headers()
        .get(header::CONTENT_TYPE)
        .map(|value| value.to_str())
    else {
        return false;
    };
    let essence = media_type.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/json")
        || (essence.starts_with("application/") && essence.ends_with("+json"))
}

pub(crate) fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    if let Ok(value) = serde_json::from_slice(body) {
        return Ok(value);
    }
    // Where it went wrong costs as much to follow as reading, so that is for those who went wrong.
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let value = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let path = error.path().to_string();
        let error = error.into_inner();
        if !error.is_data() {
            return Problem::malformed(error.to_string());
        }
        let message = error.to_string();
        // An absent or unknown field is in the message between backticks; a wrong one is where the path ends.
        let quoted = message
            .starts_with("missing field")
            .then(|| message.split('`').nth(1))
            .flatten();
        let field = quoted.map(str::to_owned).unwrap_or(path);
        Problem::invalid(message).field(field)
    })?;
    deserializer
        .end()
        .map_err(|error| Problem::malformed(error.to_string()))?;
    Ok(value)
}

/// Refuses a text that is empty or longer than `longest` characters.
pub(crate) fn text(field: &'static str, value: &str, longest: usize) -> Result<(), Problem> {
    let length = value.chars().count();
    if value.trim().is_empty() || length > longest {
        return Err(
            Problem::invalid(format!("{field} must have 1 to {longest} characters")).field(field),
        );
    }
    no_zero(field, value)
}

/// Refuses the one character that PostgreSQL cannot keep.
pub(crate) fn no_zero(field: &'static str, value: &str) -> Result<(), Problem> {
    if value.contains('\0') {
        return Err(
            Problem::invalid(format!("{field} must not contain a zero character")).field(field),
        );
    }
    Ok(())
}

/// Refuses that character in any text of a JSON value, names of members included.
pub(crate) fn no_zero_within(field: &'static str, value: &Value) -> Result<(), Problem> {
    match value {
        Value::String(text) => no_zero(field, text),
        Value::Array(values) => values
            .iter()
            .try_for_each(|value| no_zero_within(field, value)),
        Value::Object(members) => members.iter().try_for_each(|(name, value)| {
            no_zero(field, name).and_then(|()| no_zero_within(field, value))
        }),
        Value::Null | Value::Bool(_) | Value::Number(_) => Ok(()),
    }
}

/// Any JSON but `null`, as it is described.
pub(crate) fn something() -> Object {
    use Type::{Boolean, Number, String};
    let types = [Type::Object, Type::Array, String, Number, Boolean];
    ObjectBuilder::new()
        .schema_type(SchemaType::from_iter(types))
        .build()
}

/// Refuses a value that is not among `choices`.
pub(crate) fn one_of(field: &'static str, value: &str, choices: &[&str]) -> Result<(), Problem> {
    if choices.contains(&value) {
        return Ok(());
    }
    Err(Problem::invalid(format!("{field} must be one of {}", choices.join(", "))).field(field))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use rust_decimal::Decimal;
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[allow(dead_code, reason = "only its reading is tested")]
    struct Offer {
        title: String,
        price: Decimal,
    }

    #[test]
    fn a_body_that_cannot_be_read_names_its_field() {
        for (body, status, field) in [
            (r#"{"title":"a","price":"1.50"#, 400, None),
            (r#"{"title":"a"}"#, 422, Some("price")),
            (r#"{"title":5,"price":"1.50"}"#, 422, Some("title")),
            (r#"{"title":"a","price":"dear"}"#, 422, Some("price")),
            (r#"{"title":"a","price":"1.50"} {}"#, 400, None),
            ("", 400, None),
        ] {
            let problem =
                serde_json::to_value(parse::<Offer>(body.as_bytes()).unwrap_err()).unwrap();
            assert_eq!(problem["status"], status, "{body}");
            assert_eq!(
                problem.get("field").and_then(|field| field.as_str()),
                field,
                "{body}"
            );
        }
    }
}
