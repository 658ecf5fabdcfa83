//! What is counted: each path of a request through the edge, and the floors beside them.

use crate::servers::Server;

/// One way of a request through a server.
pub(crate) struct Path {
    /// Its name, also in the baseline.
    pub(crate) name: &'static str,
    pub(crate) server: Server,
    pub(crate) protocol: Protocol,
    pub(crate) targets: Targets,
    /// More fields of the request, each with its line's end.
    pub(crate) fields: &'static str,
    /// The status of the answer.
    pub(crate) status: u16,
    /// What is in the answer's head, in lower case, where that can be read.
    pub(crate) shows: &'static str,
    /// What the same costs with nothing around it.
    pub(crate) floor: Option<&'static str>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http1,
    Http2,
}

/// Which targets are asked for.
#[derive(Clone, Copy)]
pub(crate) enum Targets {
    One(&'static str),
    /// So many below this one, in turn.
    InTurn(&'static str, usize),
    /// Each below this one, and never again.
    Fresh(&'static str),
}

impl Targets {
    pub(crate) fn target(self, number: usize) -> String {
        match self {
            Targets::One(target) => target.to_owned(),
            Targets::InTurn(folder, count) => format!("{folder}/{:04}", number % count),
            Targets::Fresh(folder) => format!("{folder}/{number:08}"),
        }
    }

    /// Requests until each target that is asked for again has been asked for.
    pub(crate) fn count(self) -> usize {
        match self {
            Targets::InTurn(_, count) => count,
            Targets::One(_) | Targets::Fresh(_) => 1,
        }
    }
}

impl Path {
    /// Whether it is there to be compared with, and not the edge's.
    pub(crate) fn is_floor(&self) -> bool {
        matches!(
            self.server,
            Server::BareHit | Server::BareHitHttp2 | Server::BarePass
        )
    }
}

/// As many objects as a small hot tier does not hold.
const IN_TURN: Targets = Targets::InTurn("/stored/1024", 512);
const ONE: Targets = Targets::One("/stored/1024/page");
const LARGE: Targets = Targets::One("/stored/102400/page");
const UNSTORED: Targets = Targets::One("/unstored/1024/page");

const HIT: Path = Path {
    name: "hit",
    server: Server::Edge,
    protocol: Protocol::Http1,
    targets: ONE,
    fields: "",
    status: 200,
    shows: "; hit",
    floor: Some("bare-hit"),
};

const BARE_HIT: Path = Path {
    name: "bare-hit",
    server: Server::BareHit,
    shows: "",
    floor: None,
    ..HIT
};

/// All of them, the floors first.
pub(crate) const PATHS: &[Path] = &[
    BARE_HIT,
    Path {
        name: "bare-hit-in-turn",
        targets: IN_TURN,
        ..BARE_HIT
    },
    Path {
        name: "bare-hit-100k",
        targets: LARGE,
        ..BARE_HIT
    },
    Path {
        name: "bare-hit-http2",
        server: Server::BareHitHttp2,
        protocol: Protocol::Http2,
        ..BARE_HIT
    },
    Path {
        name: "bare-pass",
        server: Server::BarePass,
        targets: UNSTORED,
        ..BARE_HIT
    },
    HIT,
    Path {
        name: "hit-in-memory",
        server: Server::EdgeWithSmallHot,
        targets: IN_TURN,
        floor: Some("bare-hit-in-turn"),
        ..HIT
    },
    Path {
        name: "hit-100k",
        targets: LARGE,
        floor: Some("bare-hit-100k"),
        ..HIT
    },
    Path {
        name: "hit-http2",
        protocol: Protocol::Http2,
        floor: Some("bare-hit-http2"),
        ..HIT
    },
    Path {
        name: "not-modified",
        fields: "if-none-match: \"v1\"\r\n",
        status: 304,
        ..HIT
    },
    Path {
        name: "pass",
        targets: UNSTORED,
        shows: "; fwd=",
        floor: Some("bare-pass"),
        ..HIT
    },
    Path {
        name: "miss",
        targets: Targets::Fresh("/stored/1024"),
        shows: "; stored",
        floor: Some("bare-pass"),
        ..HIT
    },
];
