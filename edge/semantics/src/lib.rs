//! What a shared HTTP cache may do, as pure functions of the messages, the stored terms and `now`.
//!
//! RFC 9111 and its kin (RFC 9110 §13-14, RFC 5861, RFC 9211, RFC 9213, RFC 9875, No-Vary-Search) live here, and nothing that acts: no
//! I/O, no clock, no store. The proxy asks, this crate answers with an enum, and every refusal has a name.
//!
//! In the order of a response's life: [`storable`] says whether an answer of the origin may be kept and under which
//! [`Terms`]; [`reuse()`] says what may be done with it for a later request; [`make_conditional`], [`confirms`] and
//! [`merge_not_modified`] renew it; [`invalidated`] names what a write makes fall. [`storing::explain`] and
//! [`reuse::explain`](mod@reuse) walk the same rules as the deciding functions, and tell what each of them found.

pub mod time;

pub mod fields;

pub mod directives;

pub mod targeted;

pub mod status;

pub mod policy;

pub mod exchange;

pub mod refusal;

pub mod step;

pub mod storing;

pub mod deception;

pub mod basis;

pub mod freshness;

pub mod reuse;

pub mod vary;

pub mod search;

pub mod validation;

pub mod ranges;

pub mod partial;

pub mod encoding;

pub mod invalidation;

pub mod groups;

pub mod cache_status;

pub use basis::Basis;
pub use cache_status::{CacheStatus, Forwarded};
pub use encoding::{
    Coding, describe_encoded, forget_identity, has_dated_range, is_of_type, may_be_encoded,
    negotiate, strengthen_demanded_tags, vary_on_coding, weaken_confirmed_tag,
};
pub use exchange::Exchange;
pub use fields::{combined, remove_fields, strip_hop_by_hop, strip_nominated};
pub use freshness::Terms;
pub use groups::{invalidated_groups, is_surrogate_field, strip_surrogate_fields, tags};
pub use invalidation::{invalidated, is_safe};
pub use partial::{are_of_one_representation, merge_part, range_validator, select_part};
pub use policy::Policy;
pub use ranges::{ContentRange, Selection, parse_content_range, select};
pub use refusal::Refusal;
pub use reuse::{Reuse, Stale, Standing, only_if_cached, reuse};
pub use search::Variance;
pub use status::{InvalidStatusPattern, StatusPattern};
pub use step::Step;
pub use storing::{Storable, storable, stored_fields};
pub use time::{Timestamp, format_date, parse_date};
pub use validation::{
    Precondition, confirms, drop_conditions, evaluate, has_validator, head_agrees,
    make_conditional, merge_not_modified, not_modified_headers,
};
pub use vary::Vary;
