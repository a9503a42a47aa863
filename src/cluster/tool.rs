//! For the command line: what makes the stream, asks all nodes how they are, and looks at NATS without changing it.

pub(crate) use super::{
    nats::{
        Names, Trouble,
        permissions::text as permissions,
        tool::{Found, Held, Room, Tool},
    },
    report::Report,
};
