//! Why the plugins of a configuration are refused.

use crate::wasm::SourceError;

/// What is wrong with a plugin or with a route's use of it. Found when the configuration is
/// loaded, never in front of a client.
#[derive(Debug, thiserror::Error)]
pub enum PluginError {
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error(
        "plugin {plugin:?}: {file} is a core module and no component: make one of it with `wasm-tools component new`"
    )]
    CoreModule { plugin: String, file: String },
    #[error("plugin {plugin:?}: {file} is no component: {reason}")]
    NoComponent {
        plugin: String,
        file: String,
        reason: String,
    },
    #[error("plugin {plugin:?}: {file} imports {import:?}, which no filter is given")]
    UnknownImport {
        plugin: String,
        file: String,
        import: String,
    },
    #[error(
        "plugin {plugin:?}: {file} does not export {export:?}, as the worlds tidegate:plugin/filter and tidegate:plugin/filter-values ask"
    )]
    MissingExport {
        plugin: String,
        file: String,
        export: String,
    },
    #[error(
        "plugin {plugin:?}: {file} fits neither the world tidegate:plugin/filter nor tidegate:plugin/filter-values: {reason}"
    )]
    OtherWorld {
        plugin: String,
        file: String,
        reason: String,
    },
    #[error("no plugin named {plugin:?}")]
    Unknown { plugin: String },
    #[error(
        "plugin {plugin:?} needs {grant:?}: add it to the route's grants, or use another plugin"
    )]
    NotGranted { plugin: String, grant: &'static str },
    #[error(
        "plugin {plugin:?}: memory of {memory} bytes is over the most that is possible, {most}"
    )]
    TooMuchMemory {
        plugin: String,
        memory: usize,
        most: usize,
    },
    #[error("plugin {plugin:?}: config: {reason}")]
    Unrepresentable { plugin: String, reason: String },
    #[error("plugin {plugin:?} refuses its config: {reason}")]
    Refused { plugin: String, reason: String },
    #[error("plugin {plugin:?} failed ({kind}) on reading its config: {reason}")]
    Failed {
        plugin: String,
        kind: &'static str,
        reason: String,
    },
    #[error("the engine for plugins does not start: {0}")]
    Engine(String),
}
