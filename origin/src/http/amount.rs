//! Amounts of money: exact, with two decimals, as `numeric(10, 2)` keeps them.

use rust_decimal::Decimal;
use serde::Serializer;
use utoipa::openapi::{
    Object, OneOfBuilder, RefOr, SchemaFormat,
    schema::{ObjectBuilder, Schema, Type},
};

use crate::http::error::Problem;

/// No amount comes to this.
const TOO_MUCH: u32 = 100_000_000;

/// Refuses an amount that `numeric(10, 2)` would round or not hold: nothing is rounded in silence.
pub(crate) fn amount(field: &'static str, value: Decimal) -> Result<Decimal, Problem> {
    let value = value.normalize();
    if value.scale() > 2 || value.abs() >= Decimal::from(TOO_MUCH) {
        let detail = format!("{field} must have at most two decimals and be below {TOO_MUCH}");
        return Err(Problem::invalid(detail).field(field));
    }
    Ok(value)
}

/// Writes an amount with both decimals, also where the database has left them out because they are 0.
///
/// # Errors
/// Those of the serializer.
pub(crate) fn in_full<S: Serializer>(amount: &Decimal, serializer: S) -> Result<S::Ok, S::Error> {
    let mut amount = *amount;
    amount.rescale(2);
    serializer.collect_str(&amount)
}

/// How an amount is written in an answer.
pub(crate) fn exact() -> Object {
    text("^-?[0-9]{1,8}\\.[0-9]{2}$")
}

/// How an amount may be written in a request.
pub(crate) fn money() -> RefOr<Schema> {
    let number = number().exclusive_minimum(Some(-f64::from(TOO_MUCH)));
    either(text("^-?[0-9]{1,8}(\\.[0-9]{1,2})?$"), number.build())
}

/// How an amount that is not below 0 may be written in a request.
pub(crate) fn price() -> RefOr<Schema> {
    let number = number().minimum(Some(0.0));
    either(text("^[0-9]{1,8}(\\.[0-9]{1,2})?$"), number.build())
}

/// The same where it may be left out.
pub(crate) fn any_price() -> RefOr<Schema> {
    let nothing = ObjectBuilder::new().schema_type(Type::Null);
    let either = OneOfBuilder::new().item(nothing).item(price());
    RefOr::T(Schema::OneOf(either.build()))
}

fn text(pattern: &str) -> Object {
    let decimal = SchemaFormat::Custom("decimal".to_owned());
    ObjectBuilder::new()
        .schema_type(Type::String)
        .format(Some(decimal))
        .pattern(Some(pattern))
        .build()
}

fn number() -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(Type::Number)
        .exclusive_maximum(Some(f64::from(TOO_MUCH)))
        .multiple_of(Some(0.01))
}

fn either(text: Object, number: Object) -> RefOr<Schema> {
    let either = OneOfBuilder::new().item(text).item(number);
    RefOr::T(Schema::OneOf(either.build()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_exact_or_refused() {
        for (given, kept) in [
            ("19.99", Some("19.99")),
            ("19.990", Some("19.99")),
            ("99999999.99", Some("99999999.99")),
            ("-5", Some("-5")),
            ("19.999", None),
            ("100000000", None),
        ] {
            let result = amount("amount", given.parse().unwrap());
            assert_eq!(
                result.ok().map(|amount| amount.to_string()).as_deref(),
                kept,
                "{given}"
            );
        }
        let number: Decimal = serde_json::from_str("12345678.91").unwrap();
        assert_eq!(number.to_string(), "12345678.91");
    }
}
