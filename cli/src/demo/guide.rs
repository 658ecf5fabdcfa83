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
    pub(super) users: &'a Users,
    pub(super) servers: &'a Servers,
}

/// Tokens of users (JWT): one who teaches, a student, an admin.
pub(super) struct Users {
    pub(super) ada: String,
    pub(super) ben: String,
    pub(super) root: String,
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
        users: Users { ada, ben, root },
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

  # Who may write: Ada teaches, Ben is a student, Root may do everything. Good for a day.
  ADA={ada}
  BEN={ben}
  ROOT={root}

  # A write purges what shows it, some milliseconds later.
  write() {{ curl -s -H "authorization: Bearer $1" -H 'content-type: application/json' -d "$2" http://{edge}$3; echo; }}
  write $ADA '{{"key":"tide","data":"in"}}' /write/document
  curl -s http://{edge}/read/document/tide; echo
  write $ADA '{{"key":"tide","data":"out"}}' /write/document
  curl -s http://{edge}/read/document/tide; echo

  # An event, taken at once (202) and counted soon: Redis has it, a worker takes it to Postgres.
  write $BEN '{{"event_type":"course_view","event_data":{{"course_id":3}}}}' /events
  curl -s http://{edge}/courses/3/views; echo

  # A circle and its messages: ten a minute from one user, then 429.
  curl -s -H "authorization: Bearer $BEN" http://{edge}/circles/1/messages; echo
  for n in $(seq 12); do write $BEN '{{"text":"Is it high water yet?"}}' /circles/1/messages; done

  # A limit by address: ten a minute.
  for n in $(seq 12); do curl -s -o /dev/null -w '%{{http_code}} ' -H "authorization: Bearer $ROOT" http://{edge}/stats; done; echo

  # What the edge counts.
  curl -s http://{admin}/metrics | grep ^tidegate_requests | grep -v ' 0$'

Ctrl-C stops all of it. The next start finds the same data."#
    )
}
