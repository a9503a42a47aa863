//! The profiles in `config/profiles/`, each against a simulator of its server: the real daemon, with
//! the profile's name and what a user has to set.

mod common;
mod simulators;
