//! What somebody wants to have explained, and the explanation: which rules decide about a request.

use std::fmt;

use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use tidegate_semantics::Step;

/// A request that is not made, only thought through.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Question {
    /// An absolute URL.
    pub url: String,
    #[serde(default = "Question::default_method")]
    pub method: String,
    /// The request's field lines in their order, name and value; in JSON a list of pairs or an object,
    /// in which a name that stands twice counts twice.
    #[serde(default, deserialize_with = "field_lines")]
    pub headers: Vec<(String, String)>,
    /// Whether the origin may be asked where nothing usable is stored.
    #[serde(default = "Question::default_fetch")]
    pub fetch: bool,
    /// The origin that a filter would choose; filters themselves are not run.
    #[serde(default)]
    pub origin: Option<String>,
}

impl Question {
    fn default_method() -> String {
        "GET".to_owned()
    }

    fn default_fetch() -> bool {
        true
    }

    /// The question that a query asks: `url=…`, and as often as wanted `header=Name: value`; also
    /// `method=`, `fetch=false` and `origin=`.
    ///
    /// # Errors
    /// What in the query is no question.
    pub fn from_query(query: &str) -> Result<Question, String> {
        let mut question = Question {
            url: String::new(),
            method: Question::default_method(),
            headers: Vec::new(),
            fetch: Question::default_fetch(),
            origin: None,
        };
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            match &*name {
                "url" => question.url = value.into_owned(),
                "method" => question.method = value.into_owned(),
                "header" => {
                    let (field, value) = value
                        .split_once(':')
                        .ok_or_else(|| format!("header {value:?} is not \"Name: value\""))?;
                    let (field, value) = (field.trim().to_owned(), value.trim().to_owned());
                    question.headers.push((field, value));
                }
                "fetch" => {
                    question.fetch = value
                        .parse()
                        .map_err(|_| format!("fetch {value:?} is neither true nor false"))?;
                }
                "origin" => question.origin = Some(value.into_owned()),
                name => return Err(format!("no parameter {name:?} here")),
            }
        }
        if question.url.is_empty() {
            return Err("url is missing: /explain?url=http://host/path".to_owned());
        }
        Ok(question)
    }
}

fn field_lines<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<(String, String)>, D::Error> {
    struct Lines;
    impl<'de> Visitor<'de> for Lines {
        type Value = Vec<(String, String)>;

        fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.write_str("a list of pairs [name, value]")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
            let mut lines = Vec::new();
            while let Some(line) = list.next_element()? {
                lines.push(line);
            }
            Ok(lines)
        }

        fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Self::Value, A::Error> {
            let mut lines = Vec::new();
            while let Some(line) = object.next_entry()? {
                lines.push(line);
            }
            Ok(lines)
        }
    }
    from.deserialize_any(Lines)
}

/// Which rules decide about a request, in their order.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Explanation {
    /// What the cache would do, in the words of `Cache-Status` (RFC 9211) without the cache's name.
    pub decision: String,
    pub steps: Vec<Told>,
}

/// One rule and what it found.
#[derive(Clone, Debug, Serialize)]
pub struct Told {
    pub rule: &'static str,
    /// Where the rule is written.
    pub section: &'static str,
    pub finding: String,
}

impl Explanation {
    /// Tells one more step.
    pub fn tell(&mut self, rule: &'static str, section: &'static str, finding: impl Into<String>) {
        self.steps.push(Told {
            rule,
            section,
            finding: finding.into(),
        });
    }

    /// Tells what a decision told of itself.
    pub fn tell_all(&mut self, steps: Vec<Step>) {
        for step in steps {
            self.tell(step.rule, step.section, step.finding);
        }
    }
}
