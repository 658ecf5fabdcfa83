//! What a guest built for Spin imports beside `wasi:http`: key-value, Redis and variables, served
//! from what the route grants. Interfaces of version 3.0 are `spin-sdk` 7's, those of 2.0 (by the
//! package name `fermyon:spin`) are `spin-sdk` 5's; both lead to the same stores and servers.

mod bindings;
mod key_value;
mod redis;
mod servers;
mod variables;

use wasmtime::component::{HasData, Linker};

use self::bindings::{classic, current};
use super::state::State;

pub(super) use self::servers::Servers;
pub(super) use self::variables::check as check_variables;

/// Links what Spin's guests import.
pub(super) fn add_to_linker(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    current::key_value::add_to_linker::<State, Spin>(linker, |state| state)?;
    current::redis::add_to_linker::<State, Spin>(linker, |state| state)?;
    current::variables::add_to_linker::<State, Spin>(linker, |state| state)?;
    classic::key_value::add_to_linker::<State, Spin>(linker, |state| state)?;
    classic::redis::add_to_linker::<State, Spin>(linker, |state| state)?;
    classic::variables::add_to_linker::<State, Spin>(linker, |state| state)
}

/// The host side: all of it is in the store's state.
struct Spin;

impl HasData for Spin {
    type Data<'a> = &'a mut State;
}
