//! Why a response is not stored.

use tidegate_semantics::Refusal;

/// Why a response is not stored.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::proxy) enum NotStored {
    /// The rules of HTTP or the route's own forbid it.
    Refused(Refusal),
    /// A filter did not want it stored.
    Plugin,
    /// A filter that might not have wanted it stored, or not like this, has failed.
    PluginFailed,
    /// Its body is larger than the cache keeps.
    TooLarge,
    /// It depends on the client's address, which we tell the origin and nobody selects by.
    VaryOnAddress,
    /// It has a transfer coding that nobody here knows (RFC 9112 §6.3).
    UnknownCoding,
}

impl NotStored {
    /// The one word for it in `Cache-Status`, the log and the metric.
    pub(in crate::proxy) fn name(self) -> &'static str {
        match self {
            NotStored::Refused(refusal) => refusal.name(),
            NotStored::Plugin => "plugin",
            NotStored::PluginFailed => "plugin-failed",
            NotStored::TooLarge => "too-large",
            NotStored::VaryOnAddress => "vary-on-address",
            NotStored::UnknownCoding => "transfer-coding",
        }
    }

    /// Whether it holds for more than this request: then nobody waits for another's fetch for a
    /// while.
    pub(in crate::proxy) fn holds_for_everybody(self) -> bool {
        !matches!(
            self,
            NotStored::PluginFailed
                | NotStored::Refused(
                    Refusal::Authorization | Refusal::RequestNoStore | Refusal::PartialContent
                )
        )
    }
}

impl From<Refusal> for NotStored {
    fn from(refusal: Refusal) -> NotStored {
        NotStored::Refused(refusal)
    }
}
