//! What a component imports: by right, by grant, or in vain.

use std::collections::BTreeSet;

use wasmtime::Engine;
use wasmtime::component::Component;

use crate::config::{Grant, Use};

/// What an import is to a handler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Import {
    /// Every handler has it, though it may lead nowhere.
    Given,
    /// What comes behind a middleware.
    Next,
    /// It takes a grant.
    Granted(Grant),
    /// Of Spin: what the route configures, which takes no grant.
    Variables,
    /// There is no such thing here.
    Unknown,
}

/// The imports of a component that not every handler has, and what comes next for a middleware.
#[derive(Debug, Default)]
pub(super) struct Imports {
    granted: Vec<(String, Grant)>,
    unknown: Option<String>,
    /// Whether it imports what comes behind it.
    pub(super) has_next: bool,
    /// Whether it reads Spin's variables.
    pub(super) has_variables: bool,
}

impl Imports {
    pub(super) fn of(component: &Component, engine: &Engine) -> Imports {
        let world = component.component_type();
        Imports::named(world.imports(engine).map(|(name, _)| name))
    }

    fn named<'a>(names: impl IntoIterator<Item = &'a str>) -> Imports {
        let mut imports = Imports::default();
        names.into_iter().for_each(|name| imports.add(name));
        imports
    }

    fn add(&mut self, name: &str) {
        match Import::of(name) {
            Import::Given => {}
            Import::Next => self.has_next = true,
            Import::Variables => self.has_variables = true,
            Import::Granted(grant) => self.granted.push((name.to_owned(), grant)),
            Import::Unknown => {
                self.unknown.get_or_insert_with(|| name.to_owned());
            }
        }
    }

    /// An import that no handler has.
    pub(super) fn unknown(&self) -> Option<&str> {
        self.unknown.as_deref()
    }

    /// The grants that its imports take.
    pub(super) fn needs(&self) -> BTreeSet<Grant> {
        self.granted.iter().map(|(_, grant)| *grant).collect()
    }

    /// An import that a route does not grant, and the grant that it takes.
    pub(super) fn lacking(&self, used: &Use) -> Option<(&str, Grant)> {
        let mut granted = self.granted.iter();
        let (name, grant) = granted.find(|(_, grant)| !used.grants.contains(grant))?;
        Some((name, *grant))
    }
}

/// The grants that a handler or middleware with these imports needs.
pub fn needs<'a>(imports: impl IntoIterator<Item = &'a str>) -> BTreeSet<Grant> {
    Imports::named(imports).needs()
}

/// The grants without which some of its imports lead nowhere, and it is loaded all the same.
pub fn can_use<'a>(imports: impl IntoIterator<Item = &'a str>) -> BTreeSet<Grant> {
    let used = |name: &str| match (Import::of(name), name.split('@').next()?) {
        (Import::Given, "wasi:http/client" | "wasi:http/outgoing-handler") => Some(Grant::Http),
        (Import::Given, "wasi:cli/stdout" | "wasi:cli/stderr") => Some(Grant::Log),
        (Import::Variables, _) => Some(Grant::Secrets),
        _ => None,
    };
    imports.into_iter().filter_map(used).collect()
}

/// Whether an import or export is of a version that is still to be one, and so not what it became.
pub fn is_draft(name: &str) -> bool {
    let version = name.split_once('@').map_or("", |(_, version)| version);
    version.contains("rc") || version.contains("draft")
}

impl Import {
    /// What an import of that name is.
    pub(super) fn of(name: &str) -> Import {
        let (interface, version) = name.split_once('@').unwrap_or((name, ""));
        let package = interface.split('/').next().unwrap_or_default();
        let is = |first: &str| version.starts_with(first) && !is_draft(name);
        match (package, interface) {
            (_, "wasi:http/handler") if is("0.3.") => Import::Next,
            ("wasi:http", _) if is("0.2.") || is("0.3.") => Import::Given,
            (
                "wasi:cli" | "wasi:clocks" | "wasi:filesystem" | "wasi:io" | "wasi:random"
                | "wasi:sockets",
                _,
            ) if is("0.2.") || is("0.3.") => Import::Given,
            (_, "spin:key-value/key-value") if is("3.") => Import::Granted(Grant::Kv),
            (_, "fermyon:spin/key-value") if is("2.") => Import::Granted(Grant::Kv),
            (_, "spin:redis/redis") if is("3.") => Import::Granted(Grant::Redis),
            (_, "fermyon:spin/redis") if is("2.") => Import::Granted(Grant::Redis),
            (_, "spin:variables/variables") if is("3.") => Import::Variables,
            (_, "fermyon:spin/variables") if is("2.") => Import::Variables,
            _ => Import::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Import;
    use crate::config::Grant;

    #[test]
    fn what_an_import_takes_is_in_its_name() {
        for (name, expected) in [
            ("wasi:http/types@0.3.0", Import::Given),
            ("wasi:http/client@0.3.0", Import::Given),
            ("wasi:http/outgoing-handler@0.2.0", Import::Given),
            ("wasi:cli/stdout@0.2.6", Import::Given),
            ("wasi:http/handler@0.3.0", Import::Next),
            ("spin:key-value/key-value@3.0.0", Import::Granted(Grant::Kv)),
            ("fermyon:spin/key-value@2.0.0", Import::Granted(Grant::Kv)),
            ("spin:redis/redis@3.0.0", Import::Granted(Grant::Redis)),
            ("fermyon:spin/redis@2.0.0", Import::Granted(Grant::Redis)),
            ("spin:variables/variables@3.0.0", Import::Variables),
            ("fermyon:spin/variables@2.0.0", Import::Variables),
            ("spin:sqlite/sqlite@3.1.0", Import::Unknown),
            ("spin:postgres/postgres@4.2.0", Import::Unknown),
            ("spin:mqtt/mqtt@3.0.0", Import::Unknown),
            ("fermyon:spin/llm@2.0.0", Import::Unknown),
            ("wasi:config/store@0.2.0-draft-2024-09-27", Import::Unknown),
            ("wasi:keyvalue/store@0.2.0-draft2", Import::Unknown),
            ("wasi:http/handler@0.3.0-rc-2026-01-06", Import::Unknown),
            ("tidegate:plugin/limits@0.1.0", Import::Unknown),
        ] {
            assert_eq!(Import::of(name), expected, "{name}");
        }
    }
}
