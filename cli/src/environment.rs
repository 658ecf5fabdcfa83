//! What the environment says. A variable that is set to nothing counts as not set, as compose files leave it.

/// The value of `variable`, where it has one.
pub(crate) fn set(variable: &str) -> Option<String> {
    std::env::var(variable)
        .ok()
        .filter(|value| !value.trim().is_empty())
}

/// The token that an edge's administration asks for.
pub(crate) fn admin_token() -> Option<String> {
    set("TIDEGATE_ADMIN_TOKEN")
}
