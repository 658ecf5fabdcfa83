//! A stored response: what is kept of it, in one piece or in parts, and how it is written between
//! processes. No I/O: the tiers keep it, and the proxy decides about it.

mod codec;
mod content;
mod fields;
mod position;
mod recency;
mod response;

pub use codec::{Encoded, RECENCY, VERSION, decode, encode, encode_varies};
pub use content::{Content, Gap, Parts};
pub use fields::Fields;
pub use position::{COUNTER_BITS, Position};
pub use recency::Recency;
pub use response::{Given, Stored};
