//! The reasons for which a response is not stored. Each has one name, wherever it is told.

/// Why a response is not stored.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Refusal {
    /// The method's responses serve no later request (RFC 9111 §3; RFC 9110 §9.3.3 for POST).
    Method,
    /// The status is not final, answers only this request's conditions, or needs freshness that was not stated.
    Status,
    /// The route gives no lifetime to responses of this status that state none.
    StatusTtl,
    /// The response says `no-store` (RFC 9111 §5.2.2.5).
    NoStore,
    /// The response says `must-understand`, and we do not know its status (RFC 9111 §5.2.2.3).
    UnknownMustUnderstand,
    /// The response says `private` (RFC 9111 §5.2.2.7).
    Private,
    /// The request had `Authorization`, and nothing lets the response be shared (RFC 9111 §3.5).
    Authorization,
    /// The request says `no-store`, and the route heeds it (RFC 9111 §5.2.1.5).
    RequestNoStore,
    /// The response varies on everything (RFC 9111 §4.1).
    VaryStar,
    /// A part of a representation that does not say well which (RFC 9111 §3.3), or that was not asked for.
    PartialContent,
    /// The response sets a cookie, and does not itself say that it is fresh, or the route does not store those.
    SetCookie,
    /// The path's extension and the Content-Type disagree.
    Deception,
    /// More tags than the route admits.
    TooManyTags,
    /// It could neither be served nor be validated later.
    NotFreshNorValidatable,
}

impl Refusal {
    /// All of them.
    pub const ALL: &[Refusal] = &[
        Self::Method,
        Self::Status,
        Self::StatusTtl,
        Self::UnknownMustUnderstand,
        Self::NoStore,
        Self::Private,
        Self::Authorization,
        Self::RequestNoStore,
        Self::VaryStar,
        Self::PartialContent,
        Self::SetCookie,
        Self::Deception,
        Self::TooManyTags,
        Self::NotFreshNorValidatable,
    ];

    /// The one word for it in `Cache-Status`, the log and the metric.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Method => "method",
            Self::Status => "status",
            Self::StatusTtl => "status-ttl",
            Self::NoStore => "no-store",
            Self::UnknownMustUnderstand => "must-understand",
            Self::Private => "private",
            Self::Authorization => "authorization",
            Self::RequestNoStore => "request-no-store",
            Self::VaryStar => "vary-star",
            Self::PartialContent => "partial-content",
            Self::SetCookie => "set-cookie",
            Self::Deception => "deception",
            Self::TooManyTags => "too-many-tags",
            Self::NotFreshNorValidatable => "not-fresh-nor-validatable",
        }
    }
}
