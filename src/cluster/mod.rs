//! The cluster: several machines, one link, one log.
//!
//! [`machine`] decides, by what happens and when.

pub(crate) mod machine;
