//! What `fuzz/` tries, for nobody else.

pub use crate::{hub::fuzzing::*, local::fuzzing::*, upstream::fuzzing::*};
