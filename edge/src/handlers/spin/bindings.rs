//! The host interfaces of Spin, as generated from their WIT: of 3.0, where a call that waits lets
//! its guest go on, and of 2.0 before that.

#![allow(
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "generated from the WIT packages"
)]

pub(super) mod current {
    wasmtime::component::bindgen!({
        path: [
            "src/handlers/spin/wit/key-value.wit",
            "src/handlers/spin/wit/redis.wit",
            "src/handlers/spin/wit/variables.wit",
        ],
        inline: "
            package tidegate:spin;

            world current {
                import spin:key-value/key-value@3.0.0;
                import spin:redis/redis@3.0.0;
                import spin:variables/variables@3.0.0;
            }
        ",
        world: "tidegate:spin/current",
        imports: { default: trappable },
        with: {
            "spin:key-value/key-value.store": crate::handlers::spin::key_value::Store,
            "spin:redis/redis.connection": crate::handlers::spin::redis::Connection,
        },
    });

    pub use self::spin::key_value::key_value;
    pub use self::spin::redis::redis;
    pub use self::spin::variables::variables;
}

pub(super) mod classic {
    wasmtime::component::bindgen!({
        path: "src/handlers/spin/wit/classic.wit",
        inline: "
            package tidegate:spin;

            world classic {
                import fermyon:spin/key-value@2.0.0;
                import fermyon:spin/redis@2.0.0;
                import fermyon:spin/variables@2.0.0;
            }
        ",
        world: "tidegate:spin/classic",
        imports: { default: async | trappable },
        with: {
            "fermyon:spin/key-value.store": crate::handlers::spin::key_value::Store,
            "fermyon:spin/redis.connection": crate::handlers::spin::redis::Connection,
        },
    });

    pub use self::fermyon::spin::{key_value, redis, variables};
}
