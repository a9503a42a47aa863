//! What the process as a whole may.

use rustix::process::{DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit};

/// Raises the soft limit of open files to the hard one. Each client is a descriptor, and the usual
/// soft limit of 1024 is there for programs that use select(2).
pub(super) fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    if limit.current < limit.maximum
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit })
    {
        tracing::warn!(%error, "the limit of open files can't be raised");
    }
}

/// Keeps what is in memory, secrets and messages, from being written to a disk by a crash, and from other
/// processes of the same user: none but root's may trace this one or read its memory and environment.
pub(super) fn keep_memory_private() {
    if let Err(error) = set_dumpable_behavior(DumpableBehavior::NotDumpable) {
        tracing::warn!(%error, "core dumps can't be forbidden");
    }
}

#[cfg(test)]
mod tests {
    use rustix::process::dumpable_behavior;

    use super::*;

    #[test]
    fn memory_is_kept_private() {
        set_dumpable_behavior(DumpableBehavior::Dumpable).unwrap();
        keep_memory_private();
        assert_eq!(dumpable_behavior().unwrap(), DumpableBehavior::NotDumpable);
        set_dumpable_behavior(DumpableBehavior::Dumpable).unwrap(); // for whoever debugs the tests
    }
}
