//! What is wrong with an argument's value.
//!
//! What it does: says how the value is written, or why it cannot be. What it refuses to know: the argument's name, which clap
//! prints before it. Invariant: what is repeated of a value was cleaned, where it may come from elsewhere.

use crate::config::{FOREIGN_NAME_FORM, OWN_NAME_FORM};

/// Why a value is not taken.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ArgumentFault {
    #[error("write it as {0}")]
    Form(&'static str),
    #[error("`{0}` is not an app's path: write it as `shop/checkout`")]
    App(String),
    #[error("no built-in profile is called so; there are {0}")]
    Backend(String),
    #[error("only loopback: every client that reaches it acts as you")]
    NotLoopback,
    #[error(
        "`{0}` is not a gateway: write it as `https://gateway.example` (`http` only on loopback)"
    )]
    Gateway(String),
    #[error("a project's name has {}", FOREIGN_NAME_FORM)]
    Project,
    #[error("{}", OWN_NAME_FORM)]
    Name,
    #[error("parameter `{0}` is given twice")]
    ParameterTwice(String),
    #[error("app `{0}` is given twice")]
    AppTwice(String),
    #[error(
        "project `{0}` is given to two apps: it has one home, and apps beneath that one share it"
    )]
    ProjectTwice(String),
    #[error("this is over already")]
    Over,
}
