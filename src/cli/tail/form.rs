//! How lines are shown.

use std::io::{self, IsTerminal as _, Write};

use super::fields::{Field, field};
use crate::cli::{format::now_us, pretty::Pretty};

/// What a person asks for.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct FormArgs {
    /// Plain protocol lines, also on a terminal
    #[arg(long, group = "form")]
    json: bool,
    /// Text for people, also in a pipe
    #[arg(long, group = "form")]
    pretty: bool,
    /// Only the messages' payloads, a line each (binary in base64); byte for byte, but on a terminal escaped where
    /// they could steer it
    #[arg(long, group = "form")]
    raw: bool,
    /// Only these values of each payload, by JSON pointers, and the line's seq, time_us or topic; tabs between, nothing
    /// where there is none, texts without quotes, and tabs, line breaks and backslashes in them as \t, \n, \r and \\
    #[arg(long, group = "form", value_name = "POINTER,…", value_delimiter = ',', value_parser = field)]
    fields: Vec<Field>,
}

/// How lines are shown.
pub(in crate::cli) enum Form {
    Plain,
    Pretty(Pretty),
    Raw,
    Fields(Vec<Field>),
}

impl FormArgs {
    pub(super) fn form(&self) -> Form {
        match self {
            FormArgs { fields, .. } if !fields.is_empty() => Form::Fields(fields.clone()),
            FormArgs { raw: true, .. } => Form::Raw,
            FormArgs { json: true, .. } => Form::Plain,
            FormArgs { pretty: true, .. } => Form::Pretty(Pretty::new(now_us())),
            _ if io::stdout().is_terminal() => Form::Pretty(Pretty::new(now_us())),
            _ => Form::Plain,
        }
    }
}

impl Form {
    /// Where it goes.
    pub(super) fn stdout(&self) -> Box<dyn Write> {
        match self {
            Form::Pretty(_) => Box::new(anstream::stdout().lock()),
            // every byte is the daemon's, and stays, but for what would steer a terminal
            Form::Plain | Form::Raw | Form::Fields(_) => Box::new(io::stdout().lock()),
        }
    }

    /// Whether nothing but messages is shown, so that all else is told on stderr.
    pub(super) fn is_bare(&self) -> bool {
        matches!(self, Form::Raw | Form::Fields(_))
    }
}
