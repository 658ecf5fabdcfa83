//! What somebody wants to have explained, and the explanation: which rules decide about a request.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tidegate_semantics::Step;

/// A request that is not made, only thought through.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Question {
    /// An absolute URL.
    pub url: String,
    #[serde(default = "Question::default_method")]
    pub method: String,
    /// The request's fields.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// Whether the origin may be asked, with a GET, where nothing usable is stored.
    #[serde(default = "Question::default_fetch")]
    pub fetch: bool,
}

impl Question {
    fn default_method() -> String {
        "GET".to_owned()
    }

    fn default_fetch() -> bool {
        true
    }

    /// The question that a query asks: `url=…`, and as often as wanted `header=Name: value`; also
    /// `method=` and `fetch=false`.
    ///
    /// # Errors
    /// What in the query is no question.
    pub fn from_query(query: &str) -> Result<Question, String> {
        let mut question = Question {
            url: String::new(),
            method: Question::default_method(),
            headers: BTreeMap::new(),
            fetch: Question::default_fetch(),
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
                    question.headers.insert(field, value);
                }
                "fetch" => {
                    question.fetch = value
                        .parse()
                        .map_err(|_| format!("fetch {value:?} is neither true nor false"))?;
                }
                name => return Err(format!("no parameter {name:?} here")),
            }
        }
        if question.url.is_empty() {
            return Err("url is missing: /explain?url=http://host/path".to_owned());
        }
        Ok(question)
    }
}

/// Which rules decide about a request, in their order.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Explanation {
    /// What the cache would do, in the words of `Cache-Status`.
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
