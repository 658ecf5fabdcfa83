//! Whose fault it is that the database did not do what it was asked. Codes are those of PostgreSQL's appendix A, of which
//! the first two characters are a class.

/// The code of a refusal.
fn code(error: &sqlx::Error) -> Option<String> {
    let refused = error.as_database_error()?;
    Some(refused.code()?.into_owned())
}

/// Whether the connection failed, and not what was asked over it.
fn is_of_the_connection(error: &sqlx::Error) -> bool {
    matches!(
        error,
        sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed
            | sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::Protocol(_)
    )
}

/// Whether the same may succeed later.
pub(crate) fn is_passing(error: &sqlx::Error) -> bool {
    is_of_the_connection(error) || code(error).is_some_and(|code| passes(&code))
}

/// Whether it speaks of the server, and not of others who write the same rows.
pub(crate) fn is_outage(error: &sqlx::Error) -> bool {
    is_of_the_connection(error) || code(error).is_some_and(|code| is_of_the_server(&code))
}

/// Whether others were in the way: they held a lock for too long (`lock_not_available`), or wrote what this wrote too.
pub(crate) fn is_contended(error: &sqlx::Error) -> bool {
    code(error).is_some_and(|code| code == "55P03" || code.starts_with("40"))
}

/// Whether a server that can be reached will not have us, whenever we come: wrong credentials, no such database.
pub(crate) fn is_turned_away(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Configuration(_) => true,
        error => code(error).is_some_and(|code| {
            let classes = ["28", "3D", "42"];
            classes.iter().any(|class| code.starts_with(class))
        }),
    }
}

/// Whether a statement was too large for the server, for what carries it, or for the time that one may take, so that a
/// smaller one may do: `query_canceled`, `out_of_memory`, `program_limit_exceeded`, and a message that cannot be sent.
pub(crate) fn is_too_much(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Protocol(_))
        || code(error).is_some_and(|code| ["57014", "53200", "54000"].contains(&code.as_str()))
}

/// Whether it is what rows hold that made the database fail, and not the state it is in.
pub(crate) fn is_of_the_rows(error: &sqlx::Error) -> bool {
    match error {
        // Errors of values, of constraints, of triggers and functions, of damaged data.
        sqlx::Error::Database(_) => code(error).is_some_and(|code| {
            let of_the_rows = ["21", "22", "23", "2F", "38", "39", "44", "54", "P0", "XX"];
            of_the_rows.iter().any(|class| code.starts_with(class))
        }),
        sqlx::Error::Decode(_) | sqlx::Error::ColumnDecode { .. } => true,
        _ => false,
    }
}

fn passes(code: &str) -> bool {
    // 40: others wrote the same. Class 55 has the lock that was not available.
    is_of_the_server(code) || code.starts_with("40") || ["55P03", "57014"].contains(&code)
}

/// 57: told to end; 53: out of means; 08: the connection. A server that cancels a statement because it took too long
/// (57014) is there.
fn is_of_the_server(code: &str) -> bool {
    let of_the_server = ["08", "53", "57"]
        .iter()
        .any(|class| code.starts_with(class));
    of_the_server && code != "57014"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_that_pass_are_told_from_mistakes_and_those_of_the_server_from_those_of_others() {
        for (code, passing, outage) in [
            ("57014", true, false),
            ("57P01", true, true),
            ("08006", true, true),
            ("53300", true, true),
            ("40P01", true, false),
            ("55P03", true, false),
            ("55006", false, false),
            ("42P01", false, false),
        ] {
            assert_eq!(passes(code), passing, "{code}");
            assert_eq!(is_of_the_server(code), outage, "{code}");
        }
    }
}
