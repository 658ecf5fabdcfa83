//! The guests that ship with Tidegate, as components.
//!
//! They are built with this crate and embedded in the binary, so that a configuration can name
//! them as `builtin:rate-limit` without a file to install.

/// Limits how often a client may ask.
pub const RATE_LIMIT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/rate-limit.wasm"));

/// The same, for keys by claims of signed tokens: needs `clock` as well.
pub const RATE_LIMIT_JWT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/rate-limit-jwt.wasm"));

/// Says what falls out of the cache after a write.
pub const INVALIDATE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/invalidate.wasm"));

/// A fixture that does everything wrong, for tests and for showing that it does no harm.
pub const MISBEHAVING: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/misbehaving.wasm"));

/// What many filters do, for benchmarks.
pub const TYPICAL: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/typical.wasm"));

/// A fixture that uses each capability as it is told.
pub const CAPABLE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/capable.wasm"));
/// A fixture that does what its configuration says.
pub const SCRIPTED: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/scripted.wasm"));

/// The same in the by-value world.
pub const SCRIPTED_VALUES: &[u8] =
    include_bytes!(concat!(env!("OUT_DIR"), "/scripted-values.wasm"));

/// Those for use, each with the name it is known by.
pub const ALL: &[(&str, &[u8])] = &[
    ("rate-limit", RATE_LIMIT),
    ("rate-limit-jwt", RATE_LIMIT_JWT),
    ("invalidate", INVALIDATE),
];

/// [`ALL`] and the fixtures.
pub const WITH_FIXTURES: &[(&str, &[u8])] = &[
    ("rate-limit", RATE_LIMIT),
    ("rate-limit-jwt", RATE_LIMIT_JWT),
    ("invalidate", INVALIDATE),
    ("misbehaving", MISBEHAVING),
    ("typical", TYPICAL),
    ("capable", CAPABLE),
    #[cfg(feature = "spin")]
    ("greeting", spin::GREETING),
    #[cfg(feature = "spin")]
    ("classic", spin::CLASSIC),
    #[cfg(feature = "spin")]
    ("errand", spin::ERRAND),
    #[cfg(feature = "spin")]
    ("errand-classic", spin::ERRAND_CLASSIC),
    #[cfg(feature = "spin")]
    ("gate", spin::GATE),
    #[cfg(feature = "spin")]
    ("misfit", spin::MISFIT),
    #[cfg(feature = "spin")]
    ("misfit-classic", spin::MISFIT_CLASSIC),
    ("scripted", SCRIPTED),
    ("scripted-values", SCRIPTED_VALUES),
];

#[cfg(feature = "spin")]
pub mod spin;

#[cfg(test)]
mod tests {
    #[test]
    fn every_guest_is_a_component_of_modest_size() {
        for (name, bytes) in super::WITH_FIXTURES {
            // The version and the layer of a component, where a module has 1 and 0.
            assert_eq!(bytes[..8], *b"\0asm\x0d\0\x01\0", "{name}");
            assert!(bytes.len() < 512 << 10, "{name} has {} bytes", bytes.len());
        }
    }
}
