//! What the demo says: where everything is, and what to try.

use std::io::Write;
use std::net::SocketAddr;

use super::Tokens;
use super::servers::Servers;

/// What runs, once all of it does.
pub(super) struct Started<'a> {
    pub(super) edge: SocketAddr,
    pub(super) admin: SocketAddr,
    pub(super) origin: SocketAddr,
    pub(super) tokens: &'a Tokens,
    /// Says to the origin that an admin asks.
    pub(super) jwt: String,
    pub(super) servers: &'a Servers,
}

/// One line on standard output. Nobody listening there is no reason to end.
pub(super) fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

pub(super) fn print(started: &Started<'_>) {
    say(&text(started));
}

fn text(started: &Started<'_>) -> String {
    let Started {
        edge,
        admin,
        origin,
        tokens,
        jwt,
        servers,
    } = started;
    let postgres = servers.postgres();
    let redis = servers.redis();
    let data = servers
        .folder()
        .map(|folder| format!("  data      {}\n", folder.display()))
        .unwrap_or_default();
    let Tokens {
        admin: admin_token,
        purge: purge_token,
        ..
    } = tokens;
    format!(
        r#"
Tidegate is running.

  edge      http://{edge}
  admin     http://{admin}  token {admin_token}
  origin    http://{origin}  behind the edge, which alone has its token
  postgres  {postgres}
  redis     {redis}
{data}
Try, in another terminal:

  # A miss, then a hit.
  curl -si http://{edge}/courses/1 | grep -iE '^(HTTP|age|cache-status)'
  curl -si http://{edge}/courses/1 | grep -iE '^(HTTP|age|cache-status)'

  # A purge of that URL over the public listener, and the miss after it.
  curl -s -X PURGE -H 'authorization: Bearer {purge_token}' http://{edge}/courses/1
  curl -si http://{edge}/courses/1 | grep -i cache-status

  # A purge by tag over the admin listener: every list of courses.
  curl -s -H 'authorization: Bearer {admin_token}' -d '{{"tags":["courses"]}}' http://{admin}/purge

  # Who writes says who they are: this is an admin, for a day.
  jwt={jwt}

  # A write purges what shows it, some milliseconds later.
  curl -s -H "authorization: Bearer $jwt" -H 'content-type: application/json' -d '{{"key":"tide","data":"in"}}' http://{edge}/write/document
  curl -s http://{edge}/read/document/tide
  curl -s -H "authorization: Bearer $jwt" -H 'content-type: application/json' -d '{{"key":"tide","data":"out"}}' http://{edge}/write/document
  curl -s http://{edge}/read/document/tide

  # A rate limit: ten a minute, then 429.
  for n in $(seq 12); do
    curl -s -o /dev/null -w '%{{http_code}} ' -H "authorization: Bearer $jwt" http://{edge}/stats
  done; echo

  # What the edge counts.
  curl -s http://{admin}/metrics | grep ^tidegate_requests | grep -v ' 0$'

Ctrl-C stops all of it. The next start finds the same data."#
    )
}
