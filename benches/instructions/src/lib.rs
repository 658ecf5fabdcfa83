//! The instructions that requests take: reading what callgrind wrote, and comparing it with a baseline. The program
//! beside this has requests answered under callgrind.

pub mod baseline;
pub mod profile;
