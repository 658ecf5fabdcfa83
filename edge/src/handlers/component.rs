//! The handlers of a configuration: read, compiled, and sorted by what they export.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use wasmtime::component::{Component, InstancePre};
use wasmtime_wasi_http::p2::bindings::{Proxy, ProxyPre};
use wasmtime_wasi_http::p3::bindings::{Service, ServicePre};

use super::engine::{MOST_MEMORY, Machine, ROOM, machine};
use super::error::HandlerError;
use super::imports::{Imports, is_draft};
use super::prepared::Prepared;
use super::spin;
use super::state::State;
use crate::config::{Route, Source, Sum, Use};
use crate::wasm::{Binary, InUse, Library, Lines, Quota, with_each, words};

/// The handlers that are in use, in all configurations.
static IN_USE: InUse<Compiled> = InUse::new();

/// The handlers of a configuration, compiled.
pub struct Handlers {
    pub(super) library: Library,
    pub(super) by_name: BTreeMap<String, Arc<Handling>>,
    /// What routes use of them.
    pub(super) uses: Mutex<Vec<Placed>>,
}

/// A plugin, whichever routes it is a handler of.
pub(super) struct Handling {
    pub(super) loaded: ArcSwap<Loaded>,
    source: Source,
    /// What all of its instances may write into the log.
    pub(super) lines: Arc<Lines>,
}

/// A plugin as it is used now.
pub(super) struct Loaded {
    pub(super) compiled: Arc<Compiled>,
    pub(super) sha256: Sum,
}

/// A component, ready to be instantiated.
pub(super) struct Compiled {
    pub(super) machine: &'static Machine,
    pub(super) imports: Imports,
    world: World,
}

/// Which kind of handler it is.
enum World {
    /// `wasi:http/handler@0.3.0`: asynchronous by itself.
    Current(ServicePre<State>),
    /// `wasi:http/incoming-handler@0.2`: answers through an argument.
    Classic(ProxyPre<State>),
}

/// An instance of either kind.
pub(super) enum Guest {
    Current(Service),
    Classic(Proxy),
}

impl Handlers {
    /// Reads and compiles handlers, those that ship with the edge out of the library. What an earlier
    /// configuration that is still in use has compiled is not compiled again.
    ///
    /// # Errors
    /// [`HandlerError`], naming the plugin and its file: it cannot be read, is no component, or
    /// no handler.
    pub fn load<'a>(
        sources: impl IntoIterator<Item = (&'a String, &'a Source)>,
        library: impl Into<Library>,
    ) -> Result<Handlers, HandlerError> {
        let library = library.into();
        let load = |(name, source): (&String, &Source)| {
            let loaded = Loaded::new(name, &library, &library.read(name, source)?)?;
            let handling = Handling {
                loaded: ArcSwap::from_pointee(loaded),
                source: source.clone(),
                lines: Arc::new(Lines::new(name)),
            };
            Ok((name.clone(), Arc::new(handling)))
        };
        let loaded: Result<_, HandlerError> = with_each(sources, load);
        Ok(Handlers {
            by_name: loaded?.into_iter().collect(),
            library,
            uses: Mutex::default(),
        })
    }

    /// The handler of a route.
    ///
    /// # Errors
    /// [`HandlerError`], naming the plugin: there is none of that name, or it may not have what
    /// the route gives it.
    pub fn prepare(&self, route: &Route, used: &Use) -> Result<Prepared, HandlerError> {
        self.prepare_as(Place::Destination, route, used)
    }

    /// A middleware of a route.
    ///
    /// # Errors
    /// As [`Handlers::prepare`].
    pub fn prepare_middleware(&self, route: &Route, used: &Use) -> Result<Prepared, HandlerError> {
        self.prepare_as(Place::Around, route, used)
    }

    fn prepare_as(
        &self,
        place: Place,
        route: &Route,
        used: &Use,
    ) -> Result<Prepared, HandlerError> {
        let handling = self.by_name.get(&used.name);
        let handling = handling.ok_or_else(|| HandlerError::Unknown {
            plugin: used.name.clone(),
        })?;
        handling.loaded.load().compiled.check(place, used)?;
        let quota = Arc::new(Quota::new(&handling.source, &ROOM));
        let mut uses = self.uses.lock().unwrap_or_else(PoisonError::into_inner);
        uses.push(Placed {
            route: route.name().to_owned(),
            place,
            used: used.clone(),
            quota: Arc::clone(&quota),
        });
        let handling = Arc::clone(handling);
        Ok(Prepared::new(&route.path, used.clone(), handling, quota))
    }
}

/// A plugin in its place on a route.
pub(super) struct Placed {
    pub(super) route: String,
    pub(super) place: Place,
    pub(super) used: Use,
    /// How many instances it may have there, on all workers.
    pub(super) quota: Arc<Quota>,
}

/// Where a route has a guest.
#[derive(Clone, Copy)]
pub(super) enum Place {
    /// In an origin's place.
    Destination,
    /// Around all that is done with a request.
    Around,
}

impl Place {
    /// What a guest in that place is called.
    pub(super) fn kind(self) -> &'static str {
        match self {
            Place::Destination => "handler",
            Place::Around => "middleware",
        }
    }
}

impl Loaded {
    /// Compiles what was read of a plugin.
    ///
    /// # Errors
    /// [`HandlerError`]: it is no component, or no handler.
    pub(super) fn new(
        plugin: &str,
        library: &Library,
        binary: &Binary,
    ) -> Result<Loaded, HandlerError> {
        Ok(Loaded {
            compiled: IN_USE.or_compile(binary, || compile(plugin, library, binary))?,
            sha256: binary.sha256,
        })
    }
}

impl Compiled {
    /// Whether a route can use it there.
    ///
    /// # Errors
    /// [`HandlerError`], naming the plugin: it is of the other kind, or may not have what the
    /// route gives it.
    pub(super) fn check(&self, place: Place, used: &Use) -> Result<(), HandlerError> {
        let is_current = matches!(self.world, World::Current(_));
        match place {
            Place::Around if !self.imports.has_next || !is_current => {
                return Err(HandlerError::NoMiddleware {
                    plugin: used.name.clone(),
                });
            }
            // One may import what comes next without asking it, as a library of middleware does.
            Place::Destination | Place::Around => {}
        }
        if used.memory() > MOST_MEMORY {
            return Err(HandlerError::TooMuchMemory {
                plugin: used.name.clone(),
                memory: used.memory(),
                most: MOST_MEMORY,
            });
        }
        if let Some((import, grant)) = self.imports.lacking(used) {
            return Err(HandlerError::NotGranted {
                plugin: used.name.clone(),
                import: import.to_owned(),
                grant: grant.name(),
            });
        }
        if self.imports.has_variables {
            spin::check_variables(used).map_err(|reason| HandlerError::Variable {
                plugin: used.name.clone(),
                reason,
            })?;
        }
        Ok(())
    }
}

impl Compiled {
    /// A new instance in `store`.
    pub(super) async fn instantiate(
        &self,
        store: &mut wasmtime::Store<State>,
    ) -> wasmtime::Result<Guest> {
        match &self.world {
            World::Current(service) => service.instantiate_async(store).await.map(Guest::Current),
            World::Classic(proxy) => proxy.instantiate_async(store).await.map(Guest::Classic),
        }
    }
}

fn compile(plugin: &str, library: &Library, binary: &Binary) -> Result<Compiled, HandlerError> {
    let plugin = plugin.to_owned();
    let file = binary.file.clone();
    let machine = machine()?;
    let component = match library.component(&machine.engine, &binary.bytes) {
        Ok(component) => component,
        Err(error) => {
            let reason = words(&format!("{error:#}"));
            return Err(HandlerError::NoComponent {
                plugin,
                file,
                reason,
            });
        }
    };
    let Some(kind) = Kind::of(&component, machine) else {
        return Err(HandlerError::NoHandler { plugin, file });
    };
    let imports = Imports::of(&component, &machine.engine);
    if let Some(import) = imports.unknown() {
        let import = import.to_owned();
        return Err(HandlerError::NotGiven {
            plugin,
            file,
            import,
        });
    }
    let linked = machine.linker.instantiate_pre(&component);
    match linked.and_then(|linked| kind.world(linked)) {
        Ok(world) => Ok(Compiled {
            machine,
            imports,
            world,
        }),
        Err(error) => {
            let reason = words(&format!("{error:#}"));
            Err(HandlerError::OtherWorld {
                plugin,
                file,
                reason,
            })
        }
    }
}

/// What makes a component a handler.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Current,
    Classic,
}

impl Kind {
    fn of(component: &Component, machine: &Machine) -> Option<Kind> {
        let world = component.component_type();
        let mut exports = world.exports(&machine.engine);
        exports.find_map(|(name, _)| Kind::of_export(name))
    }

    fn of_export(name: &str) -> Option<Kind> {
        let (interface, version) = name.split_once('@')?;
        if is_draft(name) {
            return None;
        }
        match interface {
            "wasi:http/handler" if version.starts_with("0.3.") => Some(Kind::Current),
            "wasi:http/incoming-handler" if version.starts_with("0.2.") => Some(Kind::Classic),
            _ => None,
        }
    }

    fn world(self, linked: InstancePre<State>) -> wasmtime::Result<World> {
        match self {
            Kind::Current => ServicePre::new(linked).map(World::Current),
            Kind::Classic => ProxyPre::new(linked).map(World::Classic),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Kind;

    #[test]
    fn the_export_says_which_kind_it_is() {
        for (name, kind) in [
            ("wasi:http/handler@0.3.0", Some(Kind::Current)),
            ("wasi:http/incoming-handler@0.2.0", Some(Kind::Classic)),
            ("wasi:http/incoming-handler@0.2.10", Some(Kind::Classic)),
            ("wasi:http/handler@1.0.0", None),
            ("wasi:http/handler@0.3.0-rc-2026-01-06", None),
            ("wasi:http/incoming-handler@0.2.0-rc-2023-11-10", None),
            ("wasi:http/handler", None),
            ("wasi:cli/run@0.2.0", None),
        ] {
            assert_eq!(Kind::of_export(name), kind, "{name}");
        }
    }
}
