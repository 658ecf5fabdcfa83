//! What a filter could do to an exchange, as far as its imports tell.

use wasmtime::component::types::ComponentItem;

use super::engine::Machine;

/// What must not be taken for granted of an exchange that a filter was to see and has not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Powers {
    /// It can change what is asked, of whom, or under which key the answer is kept.
    pub(super) change_requests: bool,
    /// It can change what is stored, give it tags, or keep it from being stored.
    pub(super) shape_storing: bool,
}

impl Powers {
    /// Those of a filter that returns what is to be done: it does not say in advance.
    pub(super) const ALL: Powers = Powers {
        change_requests: true,
        shape_storing: true,
    };

    /// Adds those that come of an imported interface.
    pub(super) fn learn(&mut self, machine: &Machine, import: &ComponentItem) {
        let ComponentItem::ComponentInstance(interface) = import else {
            return;
        };
        for (function, _) in interface.exports(&machine.engine) {
            self.learn_of(function);
        }
    }

    fn learn_of(&mut self, function: &str) {
        let Some(method) = function.strip_prefix("[method]") else {
            return;
        };
        let Some((resource, does)) = method.split_once('.') else {
            return;
        };
        let changes = ["set-", "append-", "remove-", "bypass-", "use-"];
        let is_change = changes.iter().any(|verb| does.starts_with(verb));
        self.change_requests |= resource == "request" && is_change;
        self.shape_storing |= resource == "storing" || (resource == "response" && is_change);
    }
}

#[cfg(test)]
mod tests {
    use super::Powers;

    #[test]
    fn what_only_looks_has_no_powers() {
        for (function, change_requests, shape_storing) in [
            ("[method]request.header", false, false),
            ("[method]request.set-header", true, false),
            ("[method]request.append-cache-key", true, false),
            ("[method]request.bypass-cache", true, false),
            ("[method]request.use-origin", true, false),
            ("[method]request.set-cache-policy", true, false),
            ("[method]request.remove-header", true, false),
            ("[method]response.status", false, false),
            ("[method]response.set-status", false, true),
            ("[method]storing.add-tag", false, true),
            ("[method]storing.refuse", false, true),
            ("[resource-drop]storing", false, false),
            ("request", false, false),
        ] {
            let mut may = Powers::default();
            may.learn_of(function);
            let expected = Powers {
                change_requests,
                shape_storing,
            };
            assert_eq!(may, expected, "{function}");
        }
    }
}
