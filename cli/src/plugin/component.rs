//! What a component says of itself without being run: what it imports and exports, and so what kind of plugin it is.

use std::collections::BTreeSet;

use tidegate_edge::filters::{self, Grant};
use tidegate_edge::handlers;
use wasmparser::{Parser, Payload};

/// A component's names.
#[derive(Debug, Default)]
pub(super) struct Component {
    pub(super) imports: Vec<String>,
    pub(super) exports: Vec<String>,
}

/// What a component can be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Of the world `filter`.
    Filter,
    /// Of the world `filter-values`.
    FilterValues,
    /// `wasi:http/handler@0.3`.
    Handler,
    /// The same, and it imports what comes next.
    Middleware,
    /// `wasi:http/incoming-handler@0.2`.
    ClassicHandler,
    Unknown,
}

impl Kind {
    pub(super) fn described(self) -> &'static str {
        match self {
            Kind::Filter => "filter (world filter)",
            Kind::FilterValues => "filter (world filter-values)",
            Kind::Handler => "handler (wasi:http/handler 0.3)",
            Kind::Middleware => "middleware (wasi:http/handler 0.3, exported and imported)",
            Kind::ClassicHandler => "handler (wasi:http/incoming-handler 0.2)",
            Kind::Unknown => "none that Tidegate runs",
        }
    }

    pub(super) fn is_filter(self) -> bool {
        matches!(self, Kind::Filter | Kind::FilterValues)
    }
}

impl Component {
    /// Reads the names of a component.
    ///
    /// # Errors
    /// When it is none.
    pub(super) fn read(bytes: &[u8]) -> Result<Component, String> {
        if Parser::is_core_wasm(bytes) {
            return Err(
                "is a core module and no component; `tidegate plugin build` makes one of it"
                    .to_owned(),
            );
        }
        if !Parser::is_component(bytes) {
            return Err("is no WebAssembly component".to_owned());
        }
        let mut component = Component::default();
        // What lies within has imports and exports of its own, which are not the component's.
        let mut depth = 0_u32;
        for payload in Parser::new(0).parse_all(bytes) {
            match payload.map_err(|error| format!("is broken: {error}"))? {
                Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
                Payload::End(_) => depth = depth.saturating_sub(1),
                Payload::ComponentImportSection(section) if depth == 0 => {
                    for import in section {
                        let import = import.map_err(|error| format!("is broken: {error}"))?;
                        // What has no package is a type that the world takes from an interface.
                        if import.name.name.contains(':') {
                            component.imports.push(import.name.name.to_owned());
                        }
                    }
                }
                Payload::ComponentExportSection(section) if depth == 0 => {
                    for export in section {
                        let export = export.map_err(|error| format!("is broken: {error}"))?;
                        component.exports.push(export.name.name.to_owned());
                    }
                }
                _ => {}
            }
        }
        component.imports.sort_unstable();
        component.exports.sort_unstable();
        Ok(component)
    }

    pub(super) fn kind(&self) -> Kind {
        let has = |names: &[String], wanted: &str| {
            let mut names = names.iter();
            names.any(|name| name.starts_with(wanted) && !handlers::is_draft(name))
        };
        let exports = |wanted: &str| has(&self.exports, wanted);
        let imports = |wanted: &str| has(&self.imports, wanted);
        if exports("on-request") && exports("configure") {
            // Only the world of handles borrows them.
            if imports("tidegate:plugin/exchange@") {
                Kind::Filter
            } else {
                Kind::FilterValues
            }
        } else if exports("wasi:http/handler@0.3") {
            if imports("wasi:http/handler@0.3") {
                Kind::Middleware
            } else {
                Kind::Handler
            }
        } else if exports("wasi:http/incoming-handler@0.2") {
            Kind::ClassicHandler
        } else {
            Kind::Unknown
        }
    }

    /// The grants that its imports need.
    pub(super) fn grants(&self) -> BTreeSet<&'static str> {
        let imports = self.imports.iter().map(String::as_str);
        let needs = match self.kind() {
            Kind::Filter | Kind::FilterValues => filters::needs(imports),
            Kind::Handler | Kind::Middleware | Kind::ClassicHandler => handlers::needs(imports),
            Kind::Unknown => BTreeSet::new(),
        };
        needs.into_iter().map(Grant::name).collect()
    }

    /// The grants that it can use and do without: filters have none.
    pub(super) fn optional_grants(&self) -> BTreeSet<&'static str> {
        let imports = self.imports.iter().map(String::as_str);
        let can_use = match self.kind() {
            Kind::Handler | Kind::Middleware | Kind::ClassicHandler => handlers::can_use(imports),
            Kind::Filter | Kind::FilterValues | Kind::Unknown => BTreeSet::new(),
        };
        can_use.into_iter().map(Grant::name).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn component(imports: &[&str], exports: &[&str]) -> Component {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Component {
            imports: owned(imports),
            exports: owned(exports),
        }
    }

    #[test]
    fn a_kind_is_known_by_exports_and_imports() {
        let hooks = ["configure", "hooks", "on-request"];
        for (imports, exports, kind) in [
            (
                &["tidegate:plugin/exchange@0.1.0"][..],
                &hooks[..],
                Kind::Filter,
            ),
            (&["tidegate:plugin/types@0.1.0"], &hooks, Kind::FilterValues),
            (&[], &["wasi:http/handler@0.3.0"], Kind::Handler),
            (
                &["wasi:http/handler@0.3.0"],
                &["wasi:http/handler@0.3.0"],
                Kind::Middleware,
            ),
            (
                &[],
                &["wasi:http/incoming-handler@0.2.3"],
                Kind::ClassicHandler,
            ),
            (&[], &["wasi:cli/run@0.2.3"], Kind::Unknown),
            (
                &[],
                &["wasi:http/handler@0.3.0-rc-2026-01-06"],
                Kind::Unknown,
            ),
            (
                &["wasi:http/handler@0.3.0-rc-2026-01-06"],
                &["wasi:http/handler@0.3.0"],
                Kind::Handler,
            ),
            (
                &[],
                &["wasi:http/incoming-handler@0.2.0-rc-2023-11-10"],
                Kind::Unknown,
            ),
        ] {
            assert_eq!(component(imports, exports).kind(), kind, "{exports:?}");
        }
    }

    #[test]
    fn what_imports_need_depends_on_the_kind() {
        let imports = [
            "tidegate:plugin/exchange@0.1.0",
            "tidegate:plugin/config@0.1.0",
            "tidegate:plugin/instance@0.1.0",
            "tidegate:plugin/limits@0.1.0",
            "tidegate:plugin/http@0.1.0",
            "spin:key-value/key-value@3.0.0",
            "spin:variables/variables@3.0.0",
            "wasi:http/outgoing-handler@0.2.3",
            "wasi:http/types@0.2.3",
            "wasi:cli/stderr@0.2.3",
        ];
        let filter = ["configure", "hooks", "on-request"];
        let handler = ["wasi:http/incoming-handler@0.2.3"];
        for (exports, needed, optional) in [
            (&filter[..], &["http", "limits"][..], &[][..]),
            (&handler, &["kv"], &["http", "log", "secrets"]),
            (&["wasi:cli/run@0.2.3"], &[], &[]),
        ] {
            let component = component(&imports, exports);
            let in_order = |grants: BTreeSet<&'static str>| grants.into_iter().collect::<Vec<_>>();
            assert_eq!(in_order(component.grants()), needed, "{exports:?}");
            assert_eq!(
                in_order(component.optional_grants()),
                optional,
                "{exports:?}"
            );
        }
    }

    #[test]
    fn the_guests_that_ship_are_filters() {
        for (name, bytes) in tidegate_plugins::ALL {
            let component = Component::read(bytes).unwrap_or_default();
            assert!(component.kind().is_filter(), "{name}");
        }
        assert!(
            Component::read(b"\0asm\x01\0\0\0").is_err_and(|error| error.contains("core module"))
        );
        assert!(Component::read(b"#!/bin/sh").is_err());
    }
}
