//! Tidegate beside other caching proxies. `make rivals` runs it.
//!
//! A round starts each contender once before the same origin, puts the same work on it, and stops it; so what else
//! happens on the machine meets them all. `run` reads as that; the rest, in the order in which it is best read:

pub mod arguments;
pub mod contender;
pub mod measure;
pub mod run;
pub mod sample;
pub mod workload;

pub mod document;
pub mod goal;
pub mod plot;
pub mod report;
pub mod table;

pub mod busy;
pub mod failure;
pub mod interrupt;
pub mod machine;
pub mod process;
pub mod processor;

pub mod epoll;
pub mod head;
pub mod load;
