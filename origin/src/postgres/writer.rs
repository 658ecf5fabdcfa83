//! What a write is done with: a transaction on the primary, and what the request demands of the state that it changes.

use std::ops::{Deref, DerefMut};

use axum::{extract::FromRequestParts, http::request::Parts};
use sqlx::PgConnection;

use crate::{
    http::{conditions::Conditions, error::Problem},
    postgres::{
        held::Held,
        primary::{Primary, Slot, Ticket, Working},
    },
    state::Servers,
};

/// A write that has not begun.
pub(crate) struct Writer {
    primary: Primary,
    ticket: Ticket,
    conditions: Conditions,
}

/// A write's transaction. Dropping it leaves everything as it was.
pub(crate) struct Write {
    // Declared first, so that the connection is free before its slot is.
    held: Held,
    _slot: Slot,
    _working: Working,
    /// What the request demands.
    pub(crate) conditions: Conditions,
}

impl Writer {
    pub(crate) fn new(servers: &Servers, parts: &Parts) -> Self {
        Self {
            primary: servers.primary().clone(),
            ticket: Ticket::of(&parts.extensions),
            conditions: Conditions::of(&parts.headers),
        }
    }

    pub(crate) async fn begin(self) -> Result<Write, Problem> {
        let (held, slot) = self.primary.begin().await?;
        Ok(Write {
            _working: self.ticket.mark(&held),
            held,
            _slot: slot,
            conditions: self.conditions,
        })
    }
}

impl FromRequestParts<Servers> for Writer {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, servers: &Servers) -> Result<Self, Problem> {
        Ok(Self::new(servers, parts))
    }
}

impl Write {
    pub(crate) async fn commit(mut self) -> Result<(), Problem> {
        Ok(self.held.commit().await?)
    }
}

impl Deref for Write {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        &self.held
    }
}

impl DerefMut for Write {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.held
    }
}
