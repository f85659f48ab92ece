//! The signature algorithms that may ever be used, by their JOSE names.
//!
//! What it does: turns `alg` into a closed list of asymmetric algorithms. What it refuses to know: keys.
//! Invariant: no HMAC, no `none`, no encryption: a name that is not here does not exist (RFC 8725
//! sections 3.1 and 3.2), and names are compared byte for byte.

/// The names that `algorithms:` of an issuer may list. `Ed25519` is RFC 9864's name for what is
/// deployed as `EdDSA`; an issuer's list admits each name by itself.
pub const ALGORITHMS: [&str; 11] = [
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA",
    "Ed25519",
];

/// One signature algorithm (RFC 7518 section 3.1, RFC 8037 section 3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Algorithm {
    Rs256,
    Rs384,
    Rs512,
    Ps256,
    Ps384,
    Ps512,
    Es256,
    Es384,
    Es512,
    Ed25519,
}

impl Algorithm {
    pub(super) fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "RS256" => Algorithm::Rs256,
            "RS384" => Algorithm::Rs384,
            "RS512" => Algorithm::Rs512,
            "PS256" => Algorithm::Ps256,
            "PS384" => Algorithm::Ps384,
            "PS512" => Algorithm::Ps512,
            "ES256" => Algorithm::Es256,
            "ES384" => Algorithm::Es384,
            "ES512" => Algorithm::Es512,
            "EdDSA" | "Ed25519" => Algorithm::Ed25519,
            _ => return None,
        })
    }

    pub(super) fn is_rsa(self) -> bool {
        use Algorithm::{Ps256, Ps384, Ps512, Rs256, Rs384, Rs512};
        matches!(self, Rs256 | Rs384 | Rs512 | Ps256 | Ps384 | Ps512)
    }

    /// The library's name for it; `None` for the one that the library lacks.
    pub(super) fn library(self) -> Option<jsonwebtoken::Algorithm> {
        Some(match self {
            Algorithm::Rs256 => jsonwebtoken::Algorithm::RS256,
            Algorithm::Rs384 => jsonwebtoken::Algorithm::RS384,
            Algorithm::Rs512 => jsonwebtoken::Algorithm::RS512,
            Algorithm::Ps256 => jsonwebtoken::Algorithm::PS256,
            Algorithm::Ps384 => jsonwebtoken::Algorithm::PS384,
            Algorithm::Ps512 => jsonwebtoken::Algorithm::PS512,
            Algorithm::Es256 => jsonwebtoken::Algorithm::ES256,
            Algorithm::Es384 => jsonwebtoken::Algorithm::ES384,
            Algorithm::Ed25519 => jsonwebtoken::Algorithm::EdDSA,
            Algorithm::Es512 => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_byte_exact_and_asymmetric() {
        for name in ALGORITHMS {
            assert!(Algorithm::parse(name).is_some(), "{name}");
        }
        for name in [
            "none", "None", "noNE", "", "HS256", "HS384", "HS512", "rs256", "RS256 ", "RS1",
            "ES256K", "RSA1_5", "dir",
        ] {
            assert!(Algorithm::parse(name).is_none(), "{name}");
        }
    }
}
