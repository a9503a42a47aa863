//! The one module with `unsafe`: what the operating system offers, and no library that is used here without it.
#![allow(unsafe_code)]

pub(super) mod peer_groups;
pub(super) mod watched;
