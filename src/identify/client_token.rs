//! Client tokens: fixed strings of our own making, for clients that can hold nothing else.
//!
//! What it does: makes tokens, and knows those of one configuration by their digests. What it refuses to
//! know: headers, policy, where the settings come from. Invariants: a token is in memory only while it is
//! made or judged, in the configuration never; nothing is remembered between two uses, so that a line that
//! is gone, or a time that has come, counts with the next request; comparing tells nothing by its duration,
//! because what is compared is a digest that cannot be aimed at a stored one.

use std::collections::HashMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use zeroize::Zeroizing;

use crate::accept::CLIENT_TOKEN_PREFIX;
use crate::clock::UnixMillis;
use crate::reason::Reason;

use super::client_token_hash::ClientTokenHash;
use super::facts::{CLIENT_TOKENS, CertificateFacts, Facts, Method};
use super::settings::ClientTokenSettings;

/// Random bytes that a token is made of.
const RANDOM_BYTES: usize = 22;
/// Characters of base64url after the prefix: 174 bits, which cannot be searched, and 32 characters in all, because
/// Lightstep's own launchers refuse access tokens of any length but 32, 84 and 104.
const RANDOM_CHARACTERS: usize = 29;

/// A token that was just made; shown once and kept nowhere.
pub struct NewClientToken {
    token: Zeroizing<String>,
    pub hash: ClientTokenHash,
}

/// Randomness could not be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoRandomness;

/// The client tokens of one configuration.
pub(super) struct ClientTokens(HashMap<ClientTokenHash, KnownToken, ahash::RandomState>);

struct KnownToken {
    facts: Arc<Facts>,
    /// Unix seconds; refused from then on.
    until: Option<i64>,
}

impl NewClientToken {
    /// `lk_` and 29 characters of base64url of the system's randomness: as long as an access token of Lightstep's.
    pub fn make() -> Result<Self, NoRandomness> {
        let mut random = Zeroizing::new([0_u8; RANDOM_BYTES]);
        aws_lc_rs::rand::fill(random.as_mut()).map_err(|_| NoRandomness)?;
        let encoded = Zeroizing::new(URL_SAFE_NO_PAD.encode(random.as_ref()));
        let random: Zeroizing<String> =
            Zeroizing::new(encoded.chars().take(RANDOM_CHARACTERS).collect());
        let token = Zeroizing::new(format!("{CLIENT_TOKEN_PREFIX}{}", random.as_str()));
        Ok(NewClientToken {
            hash: ClientTokenHash::of(token.as_bytes()),
            token,
        })
    }

    /// The token itself, to be shown once to its owner.
    pub fn expose(&self) -> &str {
        &self.token
    }
}

impl ClientTokens {
    /// `settings`: checked, each hash once.
    pub(super) fn new(settings: &[ClientTokenSettings]) -> Self {
        let known = settings.iter().map(|one| {
            let facts = Facts {
                client_binding: Some(Arc::from(one.binding.as_str())),
                ..Facts::bare(
                    Method::ClientToken,
                    CLIENT_TOKENS,
                    &one.name,
                    one.until_unix_seconds.unwrap_or(i64::MAX),
                )
            };
            (
                one.hash,
                KnownToken {
                    facts: Arc::new(facts),
                    until: one.until_unix_seconds,
                },
            )
        });
        ClientTokens(known.collect())
    }

    /// What is known of a token's holder. `certificate`: verified, and shown beside the token.
    pub(super) fn judge(
        &self,
        token: &[u8],
        certificate: Option<&Arc<CertificateFacts>>,
        now: UnixMillis,
    ) -> Result<Arc<Facts>, Reason> {
        let known = self
            .0
            .get(&ClientTokenHash::of(token))
            .ok_or(Reason::ClientTokenUnknown)?;
        if known.until.is_some_and(|until| now.seconds() >= until) {
            return Err(Reason::ClientTokenExpired);
        }
        Ok(match certificate {
            None => known.facts.clone(),
            Some(_) => Arc::new(Facts {
                certificate: certificate.cloned(),
                ..(*known.facts).clone()
            }),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_token_has_its_form_and_is_new() {
        let (one, other) = (
            NewClientToken::make().unwrap(),
            NewClientToken::make().unwrap(),
        );
        let text = one.expose();
        let random = text.strip_prefix("lk_").unwrap();
        assert!(
            random
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)),
            "{text}"
        );
        assert_eq!((random.len(), text.len()), (29, 32));
        assert_eq!(ClientTokenHash::of(text.as_bytes()), one.hash);
        assert_ne!(text, other.expose());
    }

    #[test]
    fn hashes_are_read_as_they_are_written() {
        // FIPS 180-4's example "abc".
        let abc = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(ClientTokenHash::of(b"abc").to_string(), abc);
        assert_eq!(
            ClientTokenHash::parse(abc),
            Some(ClientTokenHash::of(b"abc"))
        );
        let upper = format!(
            "sha256:{}",
            abc.strip_prefix("sha256:").unwrap().to_uppercase()
        );
        assert_eq!(
            ClientTokenHash::parse(&upper),
            Some(ClientTokenHash::of(b"abc"))
        );
        let digits = |text: &str| format!("sha256:{text:0>64}");
        assert!(ClientTokenHash::parse(&digits("0")).is_some());
        for wrong in [
            "".to_owned(),
            "sha256:".to_owned(),
            abc.replace("sha256:", "sha512:"),
            abc.replace("sha256:", ""),
            abc.replace("ba78", "ba7"),
            abc.replace("ba78", "ba780"),
            digits("g"),
            digits("+1"),
            digits("-1"),
            digits(" 1"),
            digits("é"),
            format!(" {abc}"),
        ] {
            assert_eq!(ClientTokenHash::parse(&wrong), None, "{wrong}");
        }
    }
}
