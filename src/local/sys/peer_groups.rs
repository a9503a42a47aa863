//! The supplementary groups of who is at the other end (`SO_PEERGROUPS`): no library that is used
//! here has this option, whose answer is as long as it happens to be.

use std::{
    io,
    os::{fd::AsRawFd, unix::net::UnixStream},
};

use nix::libc;

/// So many groups are asked for at first: more than nearly everybody is in.
const FEW: usize = 64;

/// The groups that the peer's process had when it connected, beside its own.
pub(in crate::local) fn of_peer(stream: &UnixStream) -> io::Result<Vec<u32>> {
    let mut groups = vec![0_u32; FEW];
    loop {
        let mut length = libc::socklen_t::try_from(size_of_val(&groups[..])).map_err(io::Error::other)?;
        // SAFETY: the descriptor is open for as long as `stream` is lent. The kernel writes at most `length` bytes to
        // the buffer, which has as many, and any bytes are numbers.
        let done = unsafe {
            libc::getsockopt(
                stream.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_PEERGROUPS,
                groups.as_mut_ptr().cast(),
                &mut length,
            )
        };
        let count = length as usize / size_of::<u32>();
        if done == 0 {
            groups.truncate(count);
            return Ok(groups);
        }
        let error = io::Error::last_os_error();
        // it says how many there are; they don't change any more
        if error.raw_os_error() != Some(libc::ERANGE) || count <= groups.len() {
            return Err(error);
        }
        groups.resize(count, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_in_the_groups_that_it_is_in() {
        let (near, _far) = UnixStream::pair().unwrap();
        let mut own: Vec<u32> = nix::unistd::getgroups().unwrap().iter().map(|gid| gid.as_raw()).collect();
        let mut found = of_peer(&near).unwrap();
        own.sort_unstable();
        found.sort_unstable();
        assert_eq!(found, own);
    }
}
