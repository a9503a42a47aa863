//! Users and groups by name. The system may ask a server for them, which takes its time.

use std::{fmt, path::Path};

use nix::unistd::{Group, User};

use super::error::BindError;
use crate::{config, local::dialogue::rights::Members};

/// The users and groups that a listener names, by number.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Ids {
    /// Whose its socket is to be. Left out, it is the daemon's own.
    pub(super) owner: Option<u32>,
    pub(super) group: Option<u32>,
    /// Whom each of its rules is for.
    pub(in crate::local) members: Vec<Members>,
}

impl Ids {
    /// Looks up the names that a listener has. This may block.
    ///
    /// # Errors
    /// The first that has no number, in a sentence.
    pub(crate) fn of(listener: &config::Listener) -> Result<Ids, BindError> {
        let (owner, group) = (listener.owner.as_deref(), listener.group.as_deref());
        let all = |names: &[String], number: fn(&str) -> Result<u32, NoName>| {
            names
                .iter()
                .filter_map(|name| look_up(&listener.path, Some(name), number).transpose())
                .collect::<Result<Vec<_>, _>>()
        };
        let members = |rule: &config::ListenerRule| {
            Ok(Members { users: all(&rule.users, uid)?, groups: all(&rule.groups, gid)? })
        };
        Ok(Ids {
            owner: look_up(&listener.path, owner, uid)?,
            group: look_up(&listener.path, group, gid)?,
            members: listener.rules.iter().map(members).collect::<Result<_, _>>()?,
        })
    }
}

/// Why a name has no number.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NoName {
    /// The system doesn't know it.
    Unknown(&'static str, String),
    /// The system can't say for now.
    Unavailable(&'static str, String, nix::Error),
}

impl fmt::Display for NoName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NoName::Unknown(kind, name) => {
                write!(f, "there is no {kind} {name:?} on this machine: create it, or name another")
            }
            NoName::Unavailable(kind, name, error) => {
                write!(f, "the {kind} {name:?} can't be looked up: {error}")
            }
        }
    }
}

/// The number of a user: given as such, or looked up by name as the system does.
pub(super) fn uid(name: &str) -> Result<u32, NoName> {
    match name.parse() {
        Ok(number) => Ok(number),
        Err(_) => found("user", name, User::from_name(name).map(|user| user.map(|user| user.uid.as_raw()))),
    }
}

/// The number of a group, likewise.
pub(super) fn gid(name: &str) -> Result<u32, NoName> {
    match name.parse() {
        Ok(number) => Ok(number),
        Err(_) => {
            found("group", name, Group::from_name(name).map(|group| group.map(|group| group.gid.as_raw())))
        }
    }
}

/// A user's name; the number where it has none.
pub(super) fn user(uid: u32) -> String {
    match User::from_uid(uid.into()) {
        Ok(Some(user)) => user.name,
        _ => uid.to_string(),
    }
}

fn look_up(
    path: &Path,
    name: Option<&str>,
    number: impl Fn(&str) -> Result<u32, NoName>,
) -> Result<Option<u32>, BindError> {
    name.map(number).transpose().map_err(|why| match why {
        NoName::Unknown(..) => BindError::lasting(path, why),
        NoName::Unavailable(..) => BindError::passing(path, why),
    })
}

fn found(kind: &'static str, name: &str, answer: nix::Result<Option<u32>>) -> Result<u32, NoName> {
    match answer {
        Ok(Some(number)) => Ok(number),
        Ok(None) => Err(NoName::Unknown(kind, name.to_owned())),
        Err(error) => Err(NoName::Unavailable(kind, name.to_owned(), error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers() {
        assert_eq!((uid("root"), gid("root")), (Ok(0), Ok(0)));
        assert_eq!((uid("4000000000"), user(0)), (Ok(4_000_000_000), "root".to_owned()));
        let error = gid("no-such-group").unwrap_err().to_string();
        assert!(error.contains("no group \"no-such-group\""), "{error}");
    }
}
