//! What all operations have in common, and need not say: the answers to requests that are refused for what they are, the
//! fields of requests and answers, who is let in, and the bounds of numbers and texts.
//!
//! An operation that says one of these things itself is left as it is.

use serde_json::{Map, Value, json};

const METHODS: [&str; 5] = ["get", "put", "post", "patch", "delete"];
/// What is shown without the edge's token.
const OPEN: [&str; 2] = ["/health", "/openapi.json"];
const MONITORING: &str = "/api/monitoring/";
/// What is answered without a look at who asks.
const FOR_EVERYONE: [&str; 12] = [
    "get /courses",
    "get /courses/search",
    "get /courses/popular",
    "get /courses/semantic",
    "get /courses/{id}/views",
    "get /documents",
    "get /trending",
    "get /reactions/{target}",
    "get /circles",
    "post /session",
    "get /health",
    "get /openapi.json",
];
/// What whoever is not known may do, and users may do more of.
const FOR_ANYONE: [&str; 6] = [
    "get /courses/{id}",
    "get /circles/{id}",
    "get /read/document/{key}",
    "post /courses/search/clicks",
    "post /users",
    "post /events",
];
const SERVICE_TOKEN: &str = "ServiceToken";
const USER_TOKEN: &str = "UserToken";
/// A text without the one character that cannot be kept, and one that is not blank either.
const TEXT: &str = "^[^\\u0000]*$";
const WORDS: &str = "^[^\\u0000]*[^\\s\\u0000][^\\u0000]*$";
/// A key of visible ASCII that does not begin as one in quotes.
const KEY: &str = "^[!#-~][!-~]*$";

/// Completes the description.
pub(super) fn complete(document: &mut Value) {
    let schemes = &mut document["components"]["securitySchemes"];
    schemes[SERVICE_TOKEN] = json!({
        "type": "apiKey", "in": "header", "name": "x-service-token",
        "description": "the secret that the edge shows",
    });
    if schemes.get(USER_TOKEN).is_none() {
        schemes[USER_TOKEN] = json!({
            "type": "http", "scheme": "bearer",
            "description": "what a user was given when a session began, or a JWT",
        });
    }
    let mut requests = Vec::new();
    let paths = document["paths"].as_object_mut().into_iter().flatten();
    for (path, item) in paths {
        for method in METHODS {
            let Some(operation) = item.get_mut(method) else {
                continue;
            };
            collect_schemas(&operation["requestBody"], &mut requests);
            Operation {
                method,
                path,
                described: operation,
            }
            .complete();
        }
    }
    let Some(schemas) = document["components"]["schemas"].as_object_mut() else {
        return;
    };
    // A schema of a request may name others.
    let mut next = 0;
    while let Some(name) = requests.get(next).cloned() {
        next += 1;
        let mut named = Vec::new();
        collect_schemas(schemas.get(&name).unwrap_or(&Value::Null), &mut named);
        named.retain(|name| !requests.contains(name));
        requests.extend(named);
    }
    for (name, schema) in schemas {
        bound_numbers(schema);
        if requests.contains(name) {
            bound_texts(schema);
        }
    }
}

/// Who is asked who they are.
enum Asks {
    Nobody,
    /// Whoever says so.
    Anyone,
    Users,
}

struct Operation<'a> {
    method: &'static str,
    path: &'a str,
    described: &'a mut Value,
}

impl Operation<'_> {
    fn complete(mut self) {
        let name = self.path.replace(['{', '}'], "").replace('/', "-");
        self.described["operationId"] = json!(format!("{}{name}", self.method));
        self.security();
        self.parameters();
        self.refusals();
        self.responses();
    }

    /// Says who is let in: the edge; and the users whose token is asked for, by a header that OpenAPI has no parameter for
    /// or by a requirement of the operation's own.
    fn security(&mut self) {
        if !self.needs_token() {
            self.described["security"] = json!([]);
            return;
        }
        let mut asked = self.described.get("security").cloned();
        if let Some(parameters) = parameters(self.described) {
            let before = parameters.len();
            parameters.retain(|parameter| {
                let name = parameter["name"].as_str().unwrap_or_default();
                parameter["in"] != "header" || !name.eq_ignore_ascii_case("authorization")
            });
            if parameters.len() < before {
                asked = asked.or(Some(json!([{ USER_TOKEN: [] }])));
            }
        }
        let mut asked = asked.unwrap_or_else(|| match self.asks() {
            Asks::Nobody => json!([{}]),
            Asks::Anyone => json!([{}, { USER_TOKEN: [] }]),
            Asks::Users => json!([{ USER_TOKEN: [] }]),
        });
        for requirement in asked.as_array_mut().into_iter().flatten() {
            requirement[SERVICE_TOKEN] = json!([]);
        }
        self.described["security"] = asked;
    }

    fn needs_token(&self) -> bool {
        !OPEN.contains(&self.path) && !self.path.starts_with(MONITORING)
    }

    fn asks(&self) -> Asks {
        let operation = format!("{} {}", self.method, self.path);
        if FOR_EVERYONE.contains(&operation.as_str()) || !self.needs_token() {
            Asks::Nobody
        } else if FOR_ANYONE.contains(&operation.as_str()) {
            Asks::Anyone
        } else {
            Asks::Users
        }
    }

    fn is_read(&self) -> bool {
        self.method == "get"
    }

    /// Whether it answers a GET with a validator.
    fn is_validated(&self) -> bool {
        self.is_read() && self.described["responses"].get("304").is_some()
    }

    /// Whether it has a parameter in a part of the request, of a name if one is given.
    fn takes(&self, part: &str, name: Option<&str>) -> bool {
        let parameters = self.described.get("parameters").and_then(Value::as_array);
        parameters.into_iter().flatten().any(|parameter| {
            parameter["in"] == part && name.is_none_or(|name| parameter["name"] == name)
        })
    }

    fn is_keyed(&self) -> bool {
        self.takes("header", Some("Idempotency-Key"))
    }

    fn parameters(&mut self) {
        if self.is_validated() {
            let known = json!({
                "name": "If-None-Match", "in": "header", "required": false, "schema": {"type": "string"},
                "description": "the `ETag` of what the client has, which is 304 if it is still so",
            });
            match parameters(self.described) {
                Some(parameters) => parameters.push(known),
                None => self.described["parameters"] = json!([known]),
            }
        }
        for parameter in parameters(self.described).into_iter().flatten() {
            let schema = match parameter["name"].as_str() {
                Some("Idempotency-Key") => {
                    json!({"type": "string", "minLength": 1, "maxLength": 255, "pattern": KEY})
                }
                Some("If-Match" | "If-None-Match") => json!({"type": "string"}),
                _ => {
                    // That a parameter may be left out is said where it is said whether it is required.
                    remove_null(&mut parameter["schema"]);
                    bound_numbers(&mut parameter["schema"]);
                    bound_texts(&mut parameter["schema"]);
                    continue;
                }
            };
            parameter["schema"] = schema;
        }
    }

    /// Adds the answers to requests that are refused for what they are.
    fn refusals(&mut self) {
        let has_body = self.described.get("requestBody").is_some();
        let has_query = self.takes("query", None);
        let has_path = self.takes("path", None);
        let has_condition = !self.is_read()
            && (self.takes("header", Some("If-Match"))
                || self.takes("header", Some("If-None-Match")));
        let has_values = has_body || has_query || has_path;
        let asks_servers = self.needs_token();
        for (status, applies, description) in [
            (
                "400",
                has_body || has_query || self.is_keyed(),
                "the request cannot be read",
            ),
            (
                "401",
                self.needs_token(),
                "a token is missing or wrong: the edge's, or a user's",
            ),
            (
                "403",
                !matches!(self.asks(), Asks::Nobody),
                "the user may not do this",
            ),
            ("404", has_path, "there is no such thing"),
            (
                "409",
                self.is_keyed(),
                "a request with this key is in progress",
            ),
            (
                "412",
                has_condition,
                "the state is not the one that is demanded",
            ),
            ("413", has_body, "the body is too large"),
            ("415", has_body, "the body is not JSON"),
            ("422", has_values, "a value is not acceptable"),
            ("500", true, "the origin failed"),
            (
                "503",
                asks_servers,
                "what the answer needs is not available now",
            ),
        ] {
            let responses = &mut self.described["responses"];
            if applies && responses.get(status).is_none() {
                responses[status] = json!({
                    "description": description,
                    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
                });
            }
        }
    }

    /// Says what answers are, and which fields they have.
    fn responses(&mut self) {
        let (is_read, is_validated, is_keyed) =
            (self.is_read(), self.is_validated(), self.is_keyed());
        let responses = self.described["responses"].as_object_mut();
        for (status, response) in responses.into_iter().flatten() {
            let is_done = status.starts_with('2');
            if response["description"]
                .as_str()
                .unwrap_or_default()
                .is_empty()
            {
                response["description"] = json!(meaning(status));
            }
            be_a_problem(response);
            let mut say = |name: &str, field: Value| {
                if response["headers"].get(name).is_none() {
                    response["headers"][name] = field;
                }
            };
            say(
                "Cache-Control",
                field(
                    true,
                    json!({"type": "string"}),
                    "how long, and by whom, the answer may be used",
                ),
            );
            if is_validated && (is_done || status == "304") {
                say("ETag", etag(true));
                say(
                    "CDN-Cache-Control",
                    field(
                        false,
                        json!({"type": "string"}),
                        "how long the edge may use the answer",
                    ),
                );
                say(
                    "Surrogate-Key",
                    field(
                        false,
                        json!({"type": "string"}),
                        "the tags by which the answer falls",
                    ),
                );
                say(
                    "Last-Modified",
                    field(
                        false,
                        json!({"type": "string"}),
                        "when what is shown last changed",
                    ),
                );
            }
            if !is_read && ["200", "201"].contains(&status.as_str()) {
                say("ETag", etag(false));
            }
            if status == "201" {
                say(
                    "Location",
                    field(
                        false,
                        json!({"type": "string", "format": "uri-reference"}),
                        "where it is",
                    ),
                );
            }
            if is_keyed && !status.starts_with('5') {
                let schema = json!({"type": "string", "const": "true"});
                say(
                    "Idempotency-Replayed",
                    field(
                        false,
                        schema,
                        "this is the answer to an earlier request with the key",
                    ),
                );
            }
            if !is_read {
                let schema = json!({
                    "type": "string", "pattern": "^(primary|[1-9][0-9]*:[0-9A-F]{1,8}/[0-9A-F]{1,8})$",
                });
                say(
                    "Tidegate-Lsn",
                    field(
                        false,
                        schema,
                        "the position of the database from which on the write is seen",
                    ),
                );
            }
            if ["503", "409"].contains(&status.as_str()) {
                let schema = json!({"type": "integer", "minimum": 1});
                say(
                    "Retry-After",
                    field(
                        false,
                        schema,
                        "after how many seconds asking again may help",
                    ),
                );
            }
            if status == "401" {
                say(
                    "WWW-Authenticate",
                    field(true, json!({"type": "string"}), "what is asked for"),
                );
            }
        }
    }
}

fn parameters(operation: &mut Value) -> Option<&mut Vec<Value>> {
    operation.get_mut("parameters")?.as_array_mut()
}

fn field(is_required: bool, schema: Value, description: &str) -> Value {
    json!({"required": is_required, "schema": schema, "description": description})
}

fn etag(is_required: bool) -> Value {
    let schema = json!({"type": "string", "pattern": "^\"[0-9a-f]{1,32}\"$"});
    field(
        is_required,
        schema,
        "the state that a GET shows, as `If-Match` and `If-None-Match` take it",
    )
}

/// What a status means where nothing else is said.
fn meaning(status: &str) -> &'static str {
    match status {
        "200" => "done",
        "201" => "made",
        "202" => "accepted",
        "204" => "done, and nothing is left to show",
        "304" => "what the client has is still so",
        "404" => "there is no such thing",
        "412" => "the state is not the one that is demanded",
        "422" => "a value is not acceptable",
        "503" => "what the answer needs is not available now",
        _ => "refused",
    }
}

/// A problem has a media type of its own (RFC 9457).
fn be_a_problem(response: &mut Value) {
    let Some(content) = response.get_mut("content").and_then(Value::as_object_mut) else {
        return;
    };
    let is_problem = content
        .get("application/json")
        .is_some_and(|body| body["schema"]["$ref"] == "#/components/schemas/Problem");
    if is_problem && let Some(problem) = content.remove("application/json") {
        content.insert("application/problem+json".to_owned(), problem);
    }
}

/// The names of the schemas that a part of the description refers to.
fn collect_schemas(part: &Value, names: &mut Vec<String>) {
    match part {
        Value::Object(members) => {
            let name = members.get("$ref").and_then(Value::as_str);
            let name = name.and_then(|name| name.strip_prefix("#/components/schemas/"));
            names.extend(name.map(str::to_owned));
            members
                .values()
                .for_each(|member| collect_schemas(member, names));
        }
        Value::Array(members) => members
            .iter()
            .for_each(|member| collect_schemas(member, names)),
        _ => {}
    }
}

/// Whether a schema allows a type, among others perhaps.
fn is_of(schema: &Map<String, Value>, kind: &str) -> bool {
    match schema.get("type") {
        Some(Value::String(one)) => one == kind,
        Some(Value::Array(several)) => several.iter().any(|one| one == kind),
        _ => false,
    }
}

fn remove_null(schema: &mut Value) {
    let Some(several) = schema.get_mut("type").and_then(Value::as_array_mut) else {
        return;
    };
    several.retain(|kind| kind != "null");
    if let [one] = several.as_slice() {
        schema["type"] = one.clone();
    }
}

/// Gives whole numbers the bounds of their format.
fn bound_numbers(schema: &mut Value) {
    each_schema(schema, &mut |schema| {
        let (least, most) = match schema.get("format").and_then(Value::as_str) {
            Some("int64") => (json!(i64::MIN), json!(i64::MAX)),
            Some("int32") => (json!(i32::MIN), json!(i32::MAX)),
            _ => return,
        };
        if is_of(schema, "integer") {
            schema.entry("minimum").or_insert(least);
            schema.entry("maximum").or_insert(most);
        }
    });
}

/// Says what every text that comes must be.
fn bound_texts(schema: &mut Value) {
    each_schema(schema, &mut |schema| {
        let is_said = ["enum", "const", "format", "pattern"]
            .iter()
            .any(|keyword| schema.contains_key(*keyword));
        if is_of(schema, "string") && !is_said {
            let has_words = schema.get("minLength").is_some_and(|least| *least != 0);
            let pattern = if has_words { WORDS } else { TEXT };
            schema.insert("pattern".to_owned(), json!(pattern));
        }
    });
}

/// Does something with a schema and all that are in it.
fn each_schema(schema: &mut Value, act: &mut impl FnMut(&mut Map<String, Value>)) {
    match schema {
        Value::Object(members) => {
            act(members);
            members
                .values_mut()
                .for_each(|member| each_schema(member, act));
        }
        Value::Array(members) => members
            .iter_mut()
            .for_each(|member| each_schema(member, act)),
        _ => {}
    }
}
