//! The compiled scanner: counts the lines of a log of which it is certain, hands back those it is not.
//!
//! `logstatsd/scan` in Python decides what a line means. Nothing here may count a line otherwise than it.

pub mod durations;
pub mod envelope;
pub mod histogram;
pub mod json;
pub mod labels;
#[cfg(feature = "python")]
pub mod python;
pub mod request;
pub mod row;
pub mod scan;
pub mod source;
pub mod tally;
pub mod text;
pub mod times;
pub mod walk;
