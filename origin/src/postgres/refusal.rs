//! Whose fault it is that the database refused a statement.

/// Whether a statement was too large for the server, for what carries it, or for the time that one may take, so that a
/// smaller one may do: `query_canceled`, `out_of_memory`, `program_limit_exceeded`, and a message that cannot be sent.
pub(crate) fn is_too_much(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Database(refused) => refused
            .code()
            .is_some_and(|code| ["57014", "53200", "54000"].contains(&code.as_ref())),
        sqlx::Error::Protocol(_) => true,
        _ => false,
    }
}

/// Whether it is what rows hold that made the database fail, and not the state it is in.
pub(crate) fn is_of_the_rows(error: &sqlx::Error) -> bool {
    match error {
        // Classes of errors by their first two characters (PostgreSQL, appendix A): those of values, of constraints,
        // of triggers and functions, of damaged data.
        sqlx::Error::Database(error) => error.code().is_some_and(|code| {
            let of_the_rows = ["21", "22", "23", "2F", "38", "39", "44", "54", "P0", "XX"];
            of_the_rows.iter().any(|class| code.starts_with(class))
        }),
        sqlx::Error::Decode(_) | sqlx::Error::ColumnDecode { .. } => true,
        _ => false,
    }
}
