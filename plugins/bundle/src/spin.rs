//! Spin applications, built as their authors would, for tests.

/// Greets visitors and counts them, with key-value and variables: what a user of `spin-sdk` 7 has.
pub const GREETING: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/spin-greeting.wasm"));

/// The same with `spin-sdk` 5, on `wasi:http` 0.2.
pub const CLASSIC: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/spin-classic.wasm"));

/// Does what path and query say with key-value, variables and Redis, and tells what came of it.
pub const ERRAND: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/spin-errand.wasm"));

/// The same with `spin-sdk` 5.
pub const ERRAND_CLASSIC: &[u8] =
    include_bytes!(concat!(env!("OUT_DIR"), "/spin-errand-classic.wasm"));

/// Streams, sends requests, and does everything that a handler may do wrong; needs nothing of Spin.
pub const MISFIT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/spin-misfit.wasm"));

/// The same with `spin-sdk` 5, on `wasi:http` 0.2.
pub const MISFIT_CLASSIC: &[u8] =
    include_bytes!(concat!(env!("OUT_DIR"), "/spin-misfit-classic.wasm"));
