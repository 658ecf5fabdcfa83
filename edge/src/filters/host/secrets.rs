//! The capabilities `secrets` and `random`: what others must not know.

use super::super::bindings::tidegate::plugin::{random as wit, secrets};
use super::State;
use crate::config::Secret;
use crate::random;

/// The most random bytes of one call.
const MOST_BYTES: u32 = 4_096;

impl secrets::Host for State {
    fn get(&mut self, name: String) -> wasmtime::Result<Option<String>> {
        self.enter()?;
        let secret = self.granted.secrets.get(&name).map(Secret::expose);
        Ok(secret.map(str::to_owned))
    }
}

impl wit::Host for State {
    fn bytes(&mut self, length: u32) -> wasmtime::Result<Result<Vec<u8>, String>> {
        self.enter()?;
        if length > MOST_BYTES {
            return Ok(Err(format!("{length} bytes at once, over {MOST_BYTES}")));
        }
        let mut bytes = vec![0; length as usize];
        random::fill(&mut bytes).map_err(wasmtime::Error::new)?;
        Ok(Ok(bytes))
    }

    fn number(&mut self) -> wasmtime::Result<u64> {
        self.enter()?;
        let mut bytes = [0; 8];
        random::fill(&mut bytes).map_err(wasmtime::Error::new)?;
        Ok(u64::from_le_bytes(bytes))
    }
}
