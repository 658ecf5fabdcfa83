//! What a freshness lifetime rests on.

/// How the lifetime of a stored response came about (RFC 9111 §4.2.1, §4.2.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Basis {
    /// The response states `s-maxage`.
    SMaxage,
    /// The response states `max-age`.
    MaxAge,
    /// The response has `Expires`, valid or not.
    Expires,
    /// The route, or a filter, gives every response its lifetime.
    Ttl,
    /// The route gives a lifetime to responses of its status that state none.
    StatusTtl,
    /// The route gives a lifetime to responses that state none.
    DefaultTtl,
    /// It is guessed from `Last-Modified`.
    Heuristic,
    /// There is nothing to go by: the lifetime is zero.
    Nothing,
}

impl Basis {
    /// All of them.
    pub const ALL: &[Basis] = &[
        Self::SMaxage,
        Self::MaxAge,
        Self::Expires,
        Self::Ttl,
        Self::StatusTtl,
        Self::DefaultTtl,
        Self::Heuristic,
        Self::Nothing,
    ];

    /// The one word for it: the directive, the field or the setting in the spelling in which it is written.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::SMaxage => "s-maxage",
            Self::MaxAge => "max-age",
            Self::Expires => "expires",
            Self::Ttl => "ttl",
            Self::StatusTtl => "status-ttl",
            Self::DefaultTtl => "default-ttl",
            Self::Heuristic => "heuristic",
            Self::Nothing => "nothing",
        }
    }

    /// The number for it where terms are written down; it never changes its meaning.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Self::Nothing => 0,
            Self::SMaxage => 1,
            Self::MaxAge => 2,
            Self::Expires => 3,
            Self::Ttl => 4,
            Self::StatusTtl => 5,
            Self::DefaultTtl => 6,
            Self::Heuristic => 7,
        }
    }

    /// The basis with this [`number`](Self::number); `None` if there is none.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        let mut all = Self::ALL.iter().copied();
        all.find(|basis| basis.number() == number)
    }

    /// Whether the response itself states its lifetime, validly or not.
    #[must_use]
    pub fn is_stated(self) -> bool {
        matches!(self, Self::SMaxage | Self::MaxAge | Self::Expires)
    }
}
