//! Lists in pages, with `Link` (RFC 8288) to the next one, the one before and the first.
//!
//! A page begins behind a row or ends before one, which is named by what the list is in order of: rows that are added or
//! removed elsewhere move nothing, and page 1,000 costs what the first does. A row whose own place changes (a course that
//! becomes more popular) is where it is when its page is asked for. Clients follow the links and need not know.

use std::fmt;

use axum::http::{HeaderValue, Uri};
use serde::Deserialize;
use utoipa::{
    IntoParams,
    openapi::{
        Required,
        path::{Parameter, ParameterBuilder, ParameterIn},
        schema::{ObjectBuilder, Type},
    },
};

use crate::http::error::Problem;

/// Which part of a list, of which a page may have `MOST` rows.
#[derive(Debug, Deserialize)]
pub(crate) struct Paging<const MOST: i64 = 1_000> {
    /// How many.
    limit: Option<i64>,
    /// Those behind this place, as `Link` names it.
    after: Option<String>,
    /// Those before this place, as `Link` names it.
    before: Option<String>,
}

impl<const MOST: i64> IntoParams for Paging<MOST> {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let limit = ObjectBuilder::new()
            .schema_type(Type::Integer)
            .minimum(Some(1))
            .maximum(Some(MOST));
        let place = || {
            ObjectBuilder::new()
                .schema_type(Type::String)
                .pattern(Some("^[0-9]{1,18}_([0-9]{1,18}|[1-8][0-9]{18})$"))
        };
        let parameters = [
            ("limit", limit, "how many"),
            (
                "after",
                place(),
                "those behind this place, as `Link` names it",
            ),
            (
                "before",
                place(),
                "those before this place, as `Link` names it; not beside `after`",
            ),
        ];
        let parameters = parameters.into_iter().map(|(name, schema, description)| {
            ParameterBuilder::new()
                .name(name)
                .parameter_in(ParameterIn::Query)
                .required(Required::False)
                .description(Some(description))
                .schema(Some(schema.build()))
                .build()
        });
        parameters.collect()
    }
}

/// A row's place in a list: what it is first in order of, and its number. Of a list in order of numbers the first is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cursor {
    pub(crate) rank: i64,
    pub(crate) id: i64,
}

impl Cursor {
    fn parse(text: &str) -> Option<Self> {
        let number = |digits: &str| {
            let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
            digits
                .parse()
                .ok()
                .filter(|_| is_number && digits.len() <= 19)
        };
        let (rank, id) = text.split_once('_')?;
        Some(Self {
            rank: number(rank)?,
            id: number(id)?,
        })
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}_{}", self.rank, self.id)
    }
}

/// A part of a list.
#[derive(Debug)]
pub(crate) struct Page {
    limit: usize,
    pub(crate) start: Start,
}

/// Where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    First,
    After(Cursor),
    Before(Cursor),
}

impl<const MOST: i64> Paging<MOST> {
    /// The page, of `default` rows unless it is said otherwise.
    pub(crate) fn page(self, default: i64) -> Result<Page, Problem> {
        let limit = self.limit.unwrap_or(default);
        if !(1..=MOST).contains(&limit) {
            return Err(Problem::invalid(format!("limit must be 1 to {MOST}")).field("limit"));
        }
        let cursor = |field: &'static str, text: &str| {
            let wrong = || {
                let detail = format!("{field} must be taken from a link, as it is");
                Problem::invalid(detail).field(field)
            };
            Cursor::parse(text).ok_or_else(wrong)
        };
        let start = match (&self.after, &self.before) {
            (None, None) => Start::First,
            (Some(after), None) => Start::After(cursor("after", after)?),
            (None, Some(before)) => Start::Before(cursor("before", before)?),
            (Some(_), Some(_)) => {
                let detail = "before cannot be given beside after";
                return Err(Problem::invalid(detail).field("before"));
            }
        };
        Ok(Page {
            limit: limit.unsigned_abs() as usize,
            start,
        })
    }
}

impl Page {
    /// How many rows to fetch: one more than are shown tells whether there is another page.
    pub(crate) fn fetch(&self) -> i64 {
        self.limit as i64 + 1
    }

    /// Shows no more than so many rows, such as an answer has room for; one at least.
    pub(crate) fn at_most(&mut self, rows: usize) {
        self.limit = self.limit.min(rows.max(1));
    }

    /// Whether rows are fetched from the end, to be turned round.
    pub(crate) fn is_backwards(&self) -> bool {
        matches!(self.start, Start::Before(_))
    }

    /// The number that a list in order of numbers is cut at.
    pub(crate) fn id(&self) -> Option<i64> {
        match self.start {
            Start::First => None,
            Start::After(cursor) | Start::Before(cursor) => Some(cursor.id),
        }
    }

    /// Takes the surplus row off, puts the others in order, and says where the pages beside are.
    pub(crate) fn cut<T>(
        &self,
        rows: &mut Vec<T>,
        uri: &Uri,
        cursor: impl Fn(&T) -> Cursor,
    ) -> HeaderValue {
        let is_more = rows.len() > self.limit;
        rows.truncate(self.limit);
        if self.is_backwards() {
            rows.reverse();
        }
        let (has_previous, has_next) = match self.start {
            Start::First => (false, is_more),
            Start::After(_) => (true, is_more),
            Start::Before(_) => (is_more, true),
        };
        let last = rows.last().filter(|_| has_next).map(&cursor);
        let first = rows.first().filter(|_| has_previous).map(&cursor);
        links(
            [
                ("next", last.map(|last| format!("after={last}"))),
                ("prev", first.map(|first| format!("before={first}"))),
                ("first", Some(String::new())),
            ],
            uri,
        )
    }
}

/// `Link` to the same list elsewhere: each with the parameter that says where, beside those that do not.
pub(crate) fn links(
    targets: impl IntoIterator<Item = (&'static str, Option<String>)>,
    uri: &Uri,
) -> HeaderValue {
    let stays = |parameter: &&str| {
        let name = parameter.split('=').next().unwrap_or_default();
        !parameter.is_empty() && !["after", "before", "offset"].contains(&name)
    };
    let query = uri.query().unwrap_or_default();
    let kept: Vec<&str> = query.split('&').filter(stays).collect();
    let mut links = Vec::new();
    for (relation, place) in targets {
        let Some(place) = place else { continue };
        let mut parameters = kept.clone();
        parameters.extend(Some(place.as_str()).filter(|place| !place.is_empty()));
        let query = parameters.join("&");
        let mark = if query.is_empty() { "" } else { "?" };
        links.push(format!("<{}{mark}{query}>; rel=\"{relation}\"", uri.path()));
    }
    HeaderValue::try_from(links.join(", ")).unwrap_or_else(|_| HeaderValue::from_static(""))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn page(limit: i64, after: Option<&str>, before: Option<&str>) -> Result<Page, Problem> {
        let paging = Paging::<100> {
            limit: Some(limit),
            after: after.map(str::to_owned),
            before: before.map(str::to_owned),
        };
        paging.page(20)
    }

    fn cut(page: &Page, rows: &[i64]) -> (Vec<i64>, String) {
        let uri = "/list?category=a%20b&limit=2&after=0_9&offset=4"
            .parse()
            .unwrap();
        let mut rows = rows.to_vec();
        let link = page.cut(&mut rows, &uri, |id| Cursor { rank: 7, id: *id });
        (rows, link.to_str().unwrap().to_owned())
    }

    #[test]
    fn links_lead_to_the_pages_beside_and_keep_what_was_asked() {
        let base = "</list?category=a%20b&limit=2";
        let next = |id| format!("{base}&after=7_{id}>; rel=\"next\"");
        let previous = |id| format!("{base}&before=7_{id}>; rel=\"prev\"");
        let first = format!("{base}>; rel=\"first\"");
        for (page, fetched, shown, links) in [
            (
                page(2, None, None),
                &[1, 2, 3][..],
                &[1, 2][..],
                vec![next(2)],
            ),
            (page(2, None, None), &[1, 2], &[1, 2], vec![]),
            (page(2, None, None), &[], &[], vec![]),
            (
                page(2, Some("7_2"), None),
                &[3, 4, 5],
                &[3, 4],
                vec![next(4), previous(3)],
            ),
            (page(2, Some("7_4"), None), &[5], &[5], vec![previous(5)]),
            (
                page(2, None, Some("7_5")),
                &[4, 3, 2],
                &[3, 4],
                vec![next(4), previous(3)],
            ),
            (page(2, None, Some("7_3")), &[2, 1], &[1, 2], vec![next(2)]),
        ] {
            let page = page.unwrap_or_else(|_| panic!("{fetched:?}"));
            let mut links = links;
            links.push(first.clone());
            assert_eq!(cut(&page, fetched), (shown.to_vec(), links.join(", ")));
        }
    }

    #[test]
    fn a_place_that_is_none_is_refused_by_its_name() {
        for (limit, after, before, field) in [
            (0, None, None, "limit"),
            (101, None, None, "limit"),
            (1, Some("x"), None, "after"),
            (1, Some("-1_1"), None, "after"),
            (1, Some("1_99999999999999999999"), None, "after"),
            (1, None, Some("1"), "before"),
            (1, Some("1_1"), Some("1_1"), "before"),
        ] {
            let problem = page(limit, after, before).unwrap_err();
            assert_eq!(serde_json::to_value(problem).unwrap()["field"], field);
        }
    }
}
