//! What values may say: templates with placeholders, patterns, pointers, and the names that they use.

pub(super) mod derived;
pub(super) mod environment;
pub(super) mod expression;
pub(super) mod names;
pub(super) mod pattern;
pub(super) mod placeholder;
pub(super) mod pointer;
pub(super) mod positions;
pub(super) mod secret;
pub(super) mod template;
pub(super) mod topic_pattern;
pub(super) mod uses;
