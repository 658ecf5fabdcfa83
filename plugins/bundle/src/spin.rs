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

/// Middleware: passes, answers, changes and fails as a field of the request says.
pub const GATE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/spin-gate.wasm"));

/// Streams, sends requests, and does everything that a handler may do wrong; needs nothing of Spin.
pub const MISFIT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/spin-misfit.wasm"));

/// The same with `spin-sdk` 5, on `wasi:http` 0.2.
pub const MISFIT_CLASSIC: &[u8] =
    include_bytes!(concat!(env!("OUT_DIR"), "/spin-misfit-classic.wasm"));

/// All of them, each with its name.
pub const ALL: &[(&str, &[u8])] = &[
    ("greeting", GREETING),
    ("classic", CLASSIC),
    ("errand", ERRAND),
    ("errand-classic", ERRAND_CLASSIC),
    ("gate", GATE),
    ("misfit", MISFIT),
    ("misfit-classic", MISFIT_CLASSIC),
];
