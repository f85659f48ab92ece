//! Why a call, a part of one or a connection ended as it did.
//!
//! What it does: has one value for each reason code that is promised as stable, with its class, who is to blame, what it
//! means and what to do about it. What it refuses to know: who finds a reason, and the call. Invariants: the type is closed, and
//! nothing else in the product is a reason; decisions ask for the reason, its class or its blame, never for its text.

use serde::{Serialize, Serializer};

mod class;

pub use class::Class;

/// Where a fault lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Blame {
    /// The caller has to send, show or be allowed something else. Counts towards the caller's penalty.
    Caller,
    /// The caller's end of the connection went away. It may be the network's fault: it is no denial, and nothing is counted.
    Connection,
    /// What the gateway asks for the caller, or what stands before it: the backend, a proxy, an alert's destination.
    Backend,
    /// The identity provider.
    Provider,
    /// The gateway's configuration, secrets and certificates.
    Operator,
    /// The gateway: its load, its bounds, its defects.
    Gateway,
    /// It is no fault.
    Nothing,
}

/// What the table says of a reason.
struct Row {
    code: &'static str,
    class: Option<Class>,
    blame: Blame,
    meaning: &'static str,
    advice: &'static str,
}

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident $code:literal [$($class:tt)+] $blame:ident $meaning:literal $advice:literal;)+) => {
        /// A stable reason code of records, metrics, logs and answers.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Reason { $($(#[$doc])* #[doc = $meaning] $name,)+ }

        impl Reason {
            /// All of them, in the order of docs/reason-codes.md.
            pub const ALL: &'static [Reason] = &[$(Reason::$name,)+];

            pub(super) fn row(self) -> &'static Row {
                match self {
                    $(Reason::$name => &Row {
                        code: $code,
                        class: reasons!(@class $($class)+),
                        blame: Blame::$blame,
                        meaning: $meaning,
                        advice: $advice,
                    },)+
                }
            }
        }
    };
    (@class -) => { None };
    (@class $($class:tt)+) => { Some(Class::$($class)+) };
}

mod table;

pub use table::Reason;

impl Reason {
    /// The reason of this code; `None` for what is none, or is one of a later version.
    pub(crate) fn find(code: &str) -> Option<Self> {
        let mut all = Self::ALL.iter().copied();
        all.find(|known| code.eq(known.code()))
    }

    /// The code as it is written; it never changes.
    pub fn code(self) -> &'static str {
        self.row().code
    }

    /// How the caller is answered; a finding may have a more exact one. None for what no call is answered with.
    pub fn class(self) -> Option<Class> {
        self.row().class
    }

    pub(crate) fn blame(self) -> Blame {
        self.row().blame
    }

    /// What it means to the person who asks why.
    pub fn meaning(self) -> &'static str {
        self.row().meaning
    }

    /// What that person can do; may be empty.
    pub fn advice(self) -> &'static str {
        self.row().advice
    }

    /// Meaning and advice in one text.
    pub(crate) fn explanation(self) -> String {
        format!("{} {}", self.meaning(), self.advice())
            .trim_end()
            .to_owned()
    }
}

/// A record whose writer names no reason has a defect.
impl Default for Reason {
    fn default() -> Self {
        Reason::InternalDefect
    }
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.code())
    }
}

impl Serialize for Reason {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.code())
    }
}

#[cfg(test)]
mod tests;
