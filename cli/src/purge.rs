//! `tidegate purge`: asks an edge to purge, and prints the receipt. The edge passes it on to every other by the log.

use clap::{ArgGroup, Args};
use serde_json::{Map, Value};

use crate::admin::Admin;
use crate::environment::admin_token;
use crate::failure::Failure;
use crate::stop::runtime;

#[derive(Args)]
#[command(group = ArgGroup::new("what").required(true).multiple(true))]
pub(crate) struct Arguments {
    /// A URL; may be given several times, like the options that follow.
    #[arg(long, value_name = "URL", group = "what")]
    url: Vec<String>,
    /// A tag, as in Surrogate-Key, Cache-Tag or xkey.
    #[arg(long, value_name = "TAG", group = "what")]
    tag: Vec<String>,
    /// All URLs that begin with this one.
    #[arg(long, value_name = "URL", group = "what")]
    prefix: Vec<String>,
    /// All URLs of a host.
    #[arg(long, value_name = "HOST", group = "what")]
    host: Vec<String>,
    /// Everything.
    #[arg(long, group = "what")]
    all: bool,
    /// Makes what matches stale instead of unusable.
    #[arg(long)]
    soft: bool,
    /// The admin listener of any edge; the token is taken from TIDEGATE_ADMIN_TOKEN.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:9090")]
    admin: String,
}

pub(crate) fn run(arguments: Arguments) -> Result<(), Failure> {
    let admin = Admin::at(&arguments.admin, admin_token()).map_err(Failure::refused)?;
    let answer = runtime(1)?.block_on(admin.post("/purge", &order(&arguments)));
    let (status, text) = answer.map_err(Failure::failed)?;
    if !status.is_success() {
        return Err(Failure::failed(format!(
            "{} answered {status}: {}",
            arguments.admin,
            text.trim()
        )));
    }
    println!("{}", text.trim_end());
    Ok(())
}

fn order(arguments: &Arguments) -> Value {
    let mut order = Map::new();
    let lists = [
        ("urls", &arguments.url),
        ("tags", &arguments.tag),
        ("prefixes", &arguments.prefix),
        ("hosts", &arguments.host),
    ];
    for (name, values) in lists {
        if !values.is_empty() {
            order.insert(name.to_owned(), values.clone().into());
        }
    }
    if arguments.all {
        order.insert("all".to_owned(), true.into());
    }
    if arguments.soft {
        order.insert("soft".to_owned(), true.into());
    }
    Value::Object(order)
}
