//! An edge with one route and one plugin, as a configuration.

use std::path::Path;

use tidegate_edge::config::Config;
use toml::{Table, Value};

use super::client::CLIENT_ADDRESS;
use super::component::Kind;

/// What the plugin is called: in what it logs, and in what is said of it.
const NAME: &str = "plugin";

/// The configuration: `plugin` is what the route says of the plugin, `route` what else it says.
///
/// # Errors
/// What is wrong with it.
pub(super) fn config(
    component: &Path,
    kind: Kind,
    plugin: &Table,
    route: &Table,
    origin: &str,
) -> Result<Config, String> {
    let component = component
        .canonicalize()
        .map_err(|error| format!("{}: {error}", component.display()))?;
    let mut plugin = plugin.clone();
    plugin.insert("name".to_owned(), NAME.into());
    let mut route = route.clone();
    let place = match kind {
        Kind::Handler | Kind::ClassicHandler => "handler",
        Kind::Middleware => "middleware",
        Kind::Filter | Kind::FilterValues => "plugins",
        Kind::Unknown => return Err("this component is no plugin".to_owned()),
    };
    if place == "handler" {
        route.insert(place.to_owned(), plugin.into());
    } else {
        route.insert(place.to_owned(), Value::Array(vec![plugin.into()]));
        route.insert("origin".to_owned(), "origin".into());
    }
    let file = component.display().to_string();
    let settings = table([
        (
            "server",
            table([
                ("listen", "127.0.0.1:0".into()),
                ("workers", 1.into()),
                ("drain_timeout", "1s".into()),
                ("client_address_header", CLIENT_ADDRESS.into()),
            ]),
        ),
        (
            "origins",
            table([("origin", table([("url", origin.into())]))]),
        ),
        ("plugins", table([(NAME, table([("file", file.into())]))])),
        ("routes", Value::Array(vec![route.into()])),
    ]);
    let text = toml::to_string(&settings).map_err(|error| error.to_string())?;
    Config::from_toml(&text, "the scenario").map_err(|error| error.to_string())
}

fn table<const N: usize>(entries: [(&str, Value); N]) -> Value {
    let entries = entries.into_iter();
    Value::Table(
        entries
            .map(|(name, value)| (name.to_owned(), value))
            .collect(),
    )
}
