//! The plugins of a configuration: read, compiled and checked against the world.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use arc_swap::ArcSwap;
use wasmtime::component::types::ComponentItem;

use super::chain::{Chain, Route, Step, Version, configured};
use super::engine::{MOST_MEMORY, Machine, ROOM, machine};
use super::error::PluginError;
use super::guest::Linked;
use super::powers::Powers;
use super::{Grant, Library, Source, Use, convert};
use crate::config::Sum;
use crate::wasm::{Binary, InUse, Lines, Quota, with_each, words};

/// The exports that make a component a filter, of either world.
const EXPORTS: [&str; 5] = [
    "configure",
    "hooks",
    "on-request",
    "on-origin-response",
    "on-response",
];

/// The parts of WASI that can be linked inert. Guests built with the standard library import some
/// of them, whether they use them or not.
const INERT: [&str; 5] = [
    "wasi:cli/",
    "wasi:clocks/",
    "wasi:filesystem/",
    "wasi:io/",
    "wasi:random/",
];

/// The filters that are in use, in all configurations.
static IN_USE: InUse<Compiled> = InUse::new();

/// The plugins of a configuration, compiled.
pub struct Plugins {
    pub(super) library: Library,
    pub(super) by_name: BTreeMap<String, Arc<Plugin>>,
    /// The routes of the chains that were made of them.
    pub(super) routes: Mutex<Vec<Weak<Route>>>,
}

/// A component, under a name of the configuration.
pub(super) struct Plugin {
    pub(super) loaded: ArcSwap<Loaded>,
    source: Source,
    lines: Arc<Lines>,
}

/// What a plugin is at present.
pub(super) struct Loaded {
    pub(super) compiled: Arc<Compiled>,
    pub(super) sha256: Sum,
}

/// A component, ready to be instantiated.
pub(super) struct Compiled {
    pub(super) linked: Linked,
    pub(super) machine: &'static Machine,
    /// The capabilities that it imports.
    pub(super) needs: BTreeSet<Grant>,
    /// Whether it has WASI, whose waiting no tick interrupts.
    pub(super) has_wasi: bool,
    pub(super) may: Powers,
}

impl Plugins {
    /// Reads and compiles the plugins of a configuration, those that ship with the edge out of the
    /// library. What an earlier configuration that is still in use has compiled is not compiled again.
    ///
    /// # Errors
    /// [`PluginError`], naming the plugin and its file: it cannot be read, is no component, or
    /// does not fit the world.
    pub fn load(
        sources: &BTreeMap<String, Source>,
        library: impl Into<Library>,
    ) -> Result<Plugins, PluginError> {
        let library = library.into();
        let load = |(name, source): (&String, &Source)| {
            let loaded = Loaded::new(name, &library, &library.read(name, source)?)?;
            let plugin = Plugin {
                loaded: ArcSwap::from_pointee(loaded),
                source: source.clone(),
                lines: Arc::new(Lines::new(name)),
            };
            Ok((name.clone(), Arc::new(plugin)))
        };
        let loaded: Result<_, PluginError> = with_each(sources, load);
        Ok(Plugins {
            by_name: loaded?.into_iter().collect(),
            library,
            routes: Mutex::default(),
        })
    }

    /// The filters of a route. Each is asked whether it can work with its configuration; this
    /// takes as long as they need, a second each at most.
    ///
    /// # Errors
    /// [`PluginError`], naming the plugin: there is none of that name, it needs what the route
    /// does not grant, or it refuses its configuration.
    pub fn chain(&self, uses: &[Use]) -> Result<Chain, PluginError> {
        self.chain_of("", uses)
    }

    /// The same for a route with a name, by which it is told when it refuses a new version.
    ///
    /// # Errors
    /// As [`chain`](Plugins::chain).
    pub fn chain_of(&self, route: &str, uses: &[Use]) -> Result<Chain, PluginError> {
        let step = |used: &Use| {
            let plugin = self.by_name.get(&used.name);
            let plugin = plugin.ok_or_else(|| PluginError::Unknown {
                plugin: used.name.clone(),
            })?;
            let quota = Arc::new(Quota::new(&plugin.source, &ROOM));
            plugin.step(used, &plugin.loaded.load().compiled, quota)
        };
        let steps: Result<_, PluginError> = uses.iter().map(step).collect();
        let chain = Chain::new(route, uses, Version::new(configured(steps?)?));
        if !chain.is_empty() {
            let mut routes = self.routes.lock().unwrap_or_else(PoisonError::into_inner);
            routes.push(Arc::downgrade(chain.route()));
        }
        Ok(chain)
    }
}

impl Loaded {
    /// Compiles what was read of a plugin.
    ///
    /// # Errors
    /// [`PluginError`]: it is no component, or does not fit the world.
    pub(super) fn new(
        plugin: &str,
        library: &Library,
        binary: &Binary,
    ) -> Result<Loaded, PluginError> {
        Ok(Loaded {
            compiled: IN_USE.or_compile(binary, || compile(plugin, library, binary))?,
            sha256: binary.sha256,
        })
    }
}

impl Plugin {
    /// A route's use of a version, which is still to be asked whether it likes its configuration. Its
    /// instances count against `quota`.
    ///
    /// # Errors
    /// [`PluginError`], naming the plugin: it needs what the route does not grant.
    pub(super) fn step(
        &self,
        used: &Use,
        compiled: &Arc<Compiled>,
        quota: Arc<Quota>,
    ) -> Result<Step, PluginError> {
        let plugin = || used.name.clone();
        let denied = compiled
            .needs
            .iter()
            .find(|grant| !used.grants.contains(grant));
        if let Some(grant) = denied {
            return Err(PluginError::NotGranted {
                plugin: plugin(),
                grant: grant.name(),
            });
        }
        if used.memory() > MOST_MEMORY {
            return Err(PluginError::TooMuchMemory {
                plugin: plugin(),
                memory: used.memory(),
                most: MOST_MEMORY,
            });
        }
        let config =
            convert::json(&used.config).map_err(|reason| PluginError::Unrepresentable {
                plugin: plugin(),
                reason,
            })?;
        Ok(Step::new(
            used,
            config,
            Arc::clone(compiled),
            quota,
            Arc::clone(&self.lines),
        ))
    }
}

fn compile(plugin: &str, library: &Library, binary: &Binary) -> Result<Compiled, PluginError> {
    let plugin = plugin.to_owned();
    let file = binary.file.clone();
    let bytes = &*binary.bytes;
    // The preamble of a core module, version 1 (WebAssembly core specification §5.5.16).
    if bytes.starts_with(b"\0asm\x01\0\0\0") {
        return Err(PluginError::CoreModule { plugin, file });
    }
    let machine = machine()?;
    let component = match library.component(&machine.engine, bytes) {
        Ok(component) => component,
        Err(error) => {
            let reason = words(&format!("{error:#}"));
            return Err(PluginError::NoComponent {
                plugin,
                file,
                reason,
            });
        }
    };
    let world = component.component_type();
    let needs = needs(world.imports(&machine.engine).map(|(import, _)| import));
    let mut has_wasi = false;
    let mut may = Powers::default();
    for (import, item) in world.imports(&machine.engine) {
        // Types that the world takes from its interfaces; whose they are, linking checks.
        if matches!(item.ty, ComponentItem::Type(_) | ComponentItem::Resource(_)) {
            continue;
        }
        match Import::of(import) {
            Import::Exchange => may.learn(machine, &item.ty),
            Import::Capability(_) => {}
            Import::Wasi => has_wasi = true,
            Import::Unknown => {
                let import = import.to_owned();
                return Err(PluginError::UnknownImport {
                    plugin,
                    file,
                    import,
                });
            }
        }
    }
    for export in EXPORTS {
        let found = world.get_export(&machine.engine, export);
        if !found.is_some_and(|item| matches!(item.ty, ComponentItem::ComponentFunc(_))) {
            let export = export.to_owned();
            return Err(PluginError::MissingExport {
                plugin,
                file,
                export,
            });
        }
    }
    match Linked::new(machine, &component) {
        Ok(linked) => Ok(Compiled {
            machine,
            needs,
            has_wasi,
            may: if linked.takes_values() {
                Powers::ALL
            } else {
                may
            },
            linked,
        }),
        Err(error) => {
            let reason = words(&format!("{error:#}"));
            Err(PluginError::OtherWorld {
                plugin,
                file,
                reason,
            })
        }
    }
}

/// The grants that a filter with these imports needs.
pub fn needs<'a>(imports: impl IntoIterator<Item = &'a str>) -> BTreeSet<Grant> {
    let granted = |import| match Import::of(import) {
        Import::Capability(grant) => Some(grant),
        _ => None,
    };
    imports.into_iter().filter_map(granted).collect()
}

/// What an import of a component asks for.
#[derive(Debug, PartialEq)]
enum Import {
    /// The exchange itself, or the plugin's own configuration: of every filter.
    Exchange,
    /// WASI, which is there and does nothing.
    Wasi,
    /// What the route must grant.
    Capability(Grant),
    Unknown,
}

impl Import {
    fn of(name: &str) -> Import {
        if INERT.iter().any(|inert| name.starts_with(inert)) {
            return Import::Wasi;
        }
        let interface = name.strip_prefix("tidegate:plugin/").unwrap_or_default();
        match interface.split('@').next().unwrap_or_default() {
            "types" | "exchange" | "values" | "instance" | "delivery" | "config" => {
                Import::Exchange
            }
            "limits" => Import::Capability(Grant::Limits),
            "purge" => Import::Capability(Grant::Purge),
            "log" => Import::Capability(Grant::Log),
            "clock" => Import::Capability(Grant::Clock),
            "kv" => Import::Capability(Grant::Kv),
            "http" => Import::Capability(Grant::Http),
            "secrets" => Import::Capability(Grant::Secrets),
            "metrics" => Import::Capability(Grant::Metrics),
            "random" => Import::Capability(Grant::Random),
            _ => Import::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Grant, Import};

    #[test]
    fn imports_are_known_by_their_interface() {
        for (name, expected) in [
            ("tidegate:plugin/exchange@0.1.0", Import::Exchange),
            ("tidegate:plugin/types@0.1.0", Import::Exchange),
            ("tidegate:plugin/values@0.1.0", Import::Exchange),
            ("tidegate:plugin/config@0.1.0", Import::Exchange),
            ("tidegate:plugin/delivery@0.1.0", Import::Exchange),
            (
                "tidegate:plugin/limits@0.1.0",
                Import::Capability(Grant::Limits),
            ),
            (
                "tidegate:plugin/purge@0.1.0",
                Import::Capability(Grant::Purge),
            ),
            ("tidegate:plugin/kv@0.1.0", Import::Capability(Grant::Kv)),
            (
                "tidegate:plugin/secrets@0.1.0",
                Import::Capability(Grant::Secrets),
            ),
            ("tidegate:plugin/sockets@0.1.0", Import::Unknown),
            ("wasi:cli/stderr@0.2.6", Import::Wasi),
            ("wasi:sockets/tcp@0.2.6", Import::Unknown),
            ("wasi:http/outgoing-handler@0.2.6", Import::Unknown),
            ("other", Import::Unknown),
        ] {
            assert_eq!(Import::of(name), expected, "{name}");
        }
    }
}
