//! Why a component is refused as a handler.

use crate::wasm::SourceError;

/// What is wrong with a handler or with a route's use of it. Found when the configuration is
/// loaded, never in front of a client.
#[derive(Debug, thiserror::Error)]
pub enum HandlerError {
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error("plugin {plugin:?}: {file} is no component: {reason}")]
    NoComponent {
        plugin: String,
        file: String,
        reason: String,
    },
    #[error(
        "plugin {plugin:?}: {file} exports neither wasi:http/handler@0.3.0 nor wasi:http/incoming-handler@0.2, one of which makes a handler"
    )]
    NoHandler { plugin: String, file: String },
    #[error("plugin {plugin:?}: {file} imports what no handler is given: {reason}")]
    OtherWorld {
        plugin: String,
        file: String,
        reason: String,
    },
    #[error("plugin {plugin:?}: {file} imports {import}, which no handler is given")]
    NotGiven {
        plugin: String,
        file: String,
        import: String,
    },
    #[error("plugin {plugin:?} imports {import}, for which the route must grant {grant:?}")]
    NotGranted {
        plugin: String,
        import: String,
        grant: &'static str,
    },
    #[error(
        "plugin {plugin:?} is no middleware: it does not both export and import wasi:http/handler@0.3.0"
    )]
    NoMiddleware { plugin: String },
    #[error("plugin {plugin:?}: {reason}")]
    Variable { plugin: String, reason: String },
    #[error("no plugin named {plugin:?}")]
    Unknown { plugin: String },
    #[error(
        "plugin {plugin:?}: memory of {memory} bytes is over the most that is possible, {most}"
    )]
    TooMuchMemory {
        plugin: String,
        memory: usize,
        most: usize,
    },
    #[error("the engine for handlers does not start: {0}")]
    Engine(String),
}
