//! `tidegate demo`: everything on this machine. A private Postgres and Redis with data of their own, the origin with
//! sample data, an edge before it, and the lines to try it with.
//!
//! `DATABASE_URL` and `REDIS_URL` name other servers instead. Where there is no Redis, the edge lives on its memory.

mod guide;
mod servers;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use clap::Args;
use tidegate_edge::config::Config;
use tidegate_edge::startup::Edge;
use tidegate_origin::access::{self, Role};
use tidegate_origin::{Activity, Origin, PurgeSink};

use crate::address::must_be_free;
use crate::admin::Admin;
use crate::environment::set;
use crate::failure::Failure;
use crate::run;
use crate::sink::{self, Later};
use crate::stop::{Stop, runtime};
use servers::Servers;

const LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);
const ADMIN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9090);
/// How long the demo's tokens of users are good.
const DAY: Duration = Duration::from_secs(86_400);
/// Where the origin finds a port for itself.
const ANYWHERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

#[derive(Args)]
pub(crate) struct Arguments {
    /// Where Postgres and Redis keep their data [default: /var/lib/tidegate-demo as root, else ~/.local/share/tidegate]
    #[arg(long, value_name = "FOLDER")]
    data: Option<PathBuf>,
    /// Where clients connect.
    #[arg(long, value_name = "ADDRESS", default_value_t = LISTEN)]
    listen: SocketAddr,
    /// Where administration listens.
    #[arg(long, value_name = "ADDRESS", default_value_t = ADMIN)]
    admin: SocketAddr,
}

impl Default for Arguments {
    fn default() -> Arguments {
        Arguments {
            data: None,
            listen: LISTEN,
            admin: ADMIN,
        }
    }
}

pub(crate) fn run(arguments: Arguments) -> Result<(), Failure> {
    must_be_free(arguments.listen, "--listen")?;
    must_be_free(arguments.admin, "--admin")?;
    let tokens = Tokens::given_or_new()?;
    let runtime = runtime(2)?;
    let mut stop = Stop::listen(&runtime)?;

    // Whoever is stopped while starting goes no further, and drops what has started.
    let servers = Servers::start(arguments.data.clone())?;
    if stop.is_asked() {
        return Ok(());
    }
    let edge_to_come = Arc::new(Later::default());
    let sink = match servers.redis_url() {
        Some(url) => runtime.block_on(async { sink::log_at(url) })?,
        None => Arc::clone(&edge_to_come) as Arc<dyn PurgeSink>,
    };
    let origin = runtime.block_on(start_origin(&servers, &tokens, sink))?;
    if stop.is_asked() {
        return Ok(());
    }
    let edge = start_edge(&arguments, &tokens, origin.addr(), servers.redis_url())?;
    let admin = edge
        .admin_addr()
        .expect("the demo's configuration has an admin listener");
    edge_to_come
        .is(Admin::at(&admin.to_string(), Some(tokens.admin.clone())).map_err(Failure::failed)?);

    let users = runtime.block_on(users(&origin, &tokens))?;
    guide::print(&guide::Started {
        edge: edge.addr(),
        admin,
        origin: origin.addr(),
        tokens: &tokens,
        users: &users,
        servers: &servers,
    });
    runtime.block_on(stop.asked());
    guide::say("stopping ...");
    edge.drain();
    runtime.block_on(origin.shutdown());
    drop(servers);
    guide::say("stopped");
    Ok(())
}

async fn start_origin(
    servers: &Servers,
    tokens: &Tokens,
    sink: Arc<dyn PurgeSink>,
) -> Result<Origin, Failure> {
    let config = tidegate_origin::Config {
        database_url: servers.postgres_url(),
        service_token: tokens.service.clone(),
        jwt_secret: Some(tokens.jwt.clone()),
        listen: ANYWHERE,
        pool_min: 2,
        pool_max: 10,
        replica_url: None,
        replica_deadline: tidegate_origin::REPLICA_DEADLINE,
        activity: Activity {
            redis_url: servers.redis_url().map(str::to_owned),
            ..Activity::default()
        },
        embeddings: tidegate_origin::Embeddings::default(),
    };
    let origin = Origin::start(config, sink).await.map_err(Failure::failed)?;
    origin.seed().await.map_err(Failure::failed)?;
    Ok(origin)
}

/// Who may write: tokens of two users of the sample data, and of one of them as an admin.
async fn users(origin: &Origin, tokens: &Tokens) -> Result<guide::Users, Failure> {
    let number = async |name| {
        let found = origin.user_named(name).await.map_err(Failure::failed)?;
        // Only where somebody's own database has courses and no such user: then of whoever was first.
        Ok::<_, Failure>(found.unwrap_or(1))
    };
    let (ada, ben) = (number("ada").await?, number("ben").await?);
    let expires = SystemTime::now() + DAY;
    let token = |user, role| access::sign(&tokens.jwt, user, role, expires);
    Ok(guide::Users {
        ada: token(ada, Role::Instructor),
        ben: token(ben, Role::Student),
        root: token(ada, Role::Admin),
    })
}

fn start_edge(
    arguments: &Arguments,
    tokens: &Tokens,
    origin: SocketAddr,
    redis: Option<&str>,
) -> Result<Edge, Failure> {
    run::start(configuration(arguments, tokens, origin, redis)?)
}

/// The demo's configuration: `demo/tidegate.toml`, and the regional tier where there is a Redis.
fn configuration(
    arguments: &Arguments,
    tokens: &Tokens,
    origin: SocketAddr,
    redis: Option<&str>,
) -> Result<Config, Failure> {
    let mut text = include_str!("demo/tidegate.toml").to_owned();
    if redis.is_some() {
        text.push_str("\n[redis]\nurl = \"${REDIS_URL}\"\n");
    }
    let variable = |name: &str| match name {
        "TIDEGATE_LISTEN" => Some(arguments.listen.to_string()),
        "TIDEGATE_ADMIN" => Some(arguments.admin.to_string()),
        "TIDEGATE_ADMIN_TOKEN" => Some(tokens.admin.clone()),
        "TIDEGATE_PURGE_TOKEN" => Some(tokens.purge.clone()),
        "TIDEGATE_SERVICE_TOKEN" => Some(tokens.service.clone()),
        "TIDEGATE_JWT_SECRET" => Some(tokens.jwt.clone()),
        "TIDEGATE_ORIGIN" => Some(format!("http://{origin}")),
        "REDIS_URL" => redis.map(str::to_owned),
        _ => None,
    };
    Config::from_toml_with(&text, "the demo's tidegate.toml", variable).map_err(Failure::failed)
}

/// Who may do what. Tokens are those of the environment, else new ones at each start.
struct Tokens {
    admin: String,
    purge: String,
    service: String,
    /// What tokens of users are signed with.
    jwt: String,
}

impl Tokens {
    fn given_or_new() -> Result<Tokens, Failure> {
        Ok(Tokens {
            admin: given_or_new("TIDEGATE_ADMIN_TOKEN")?,
            purge: given_or_new("TIDEGATE_PURGE_TOKEN")?,
            service: given_or_new("TIDEGATE_SERVICE_TOKEN")?,
            jwt: given_or_new("TIDEGATE_JWT_SECRET")?,
        })
    }
}

fn given_or_new(variable: &str) -> Result<String, Failure> {
    use std::io::Read;
    if let Some(token) = set(variable) {
        return Ok(token);
    }
    let mut random = [0; 16];
    std::fs::File::open("/dev/urandom")
        .and_then(|mut source| source.read_exact(&mut random))
        .map_err(|error| Failure::failed(format!("cannot read /dev/urandom: {error}")))?;
    Ok(random.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn tokens(odd: &str) -> Tokens {
        Tokens {
            admin: odd.to_owned(),
            purge: odd.to_owned(),
            service: "plain".to_owned(),
            jwt: "a secret of thirty-two bytes or more".to_owned(),
        }
    }

    #[test]
    fn the_configuration_takes_tokens_as_they_are() {
        let odd = "a\"b\\c${HOME}#'";
        let redis = "redis://:p$w@127.0.0.1:1/";
        let config = configuration(&Arguments::default(), &tokens(odd), ANYWHERE, Some(redis));
        let config = config.unwrap();
        assert_eq!(config.server.admin_token.unwrap().expose(), odd);
        assert_eq!(config.purge.token.unwrap().expose(), odd);
        assert_eq!(config.redis.unwrap().url.expose(), redis);
        assert_eq!(config.server.listen, LISTEN);
    }

    #[test]
    fn without_redis_the_configuration_names_none() {
        let config = configuration(&Arguments::default(), &tokens("a"), ANYWHERE, None);
        assert!(
            config
                .unwrap_or_else(|_| panic!("it is refused"))
                .redis
                .is_none()
        );
    }
}
