//! Starts a temporary PostgreSQL, prints its URL, and stops it at the end of standard input.

use std::io::Read;

use tidegate_services::{Postgres, ServiceError};

fn main() -> Result<(), ServiceError> {
    let postgres = Postgres::ephemeral()?;
    println!("{}", postgres.url());
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
    postgres.stop();
    Ok(())
}
