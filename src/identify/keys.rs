//! An issuer's keys, out of a JWK set.
//!
//! What it does: reads a JWK set (RFC 7517) strictly, keeps the keys that may verify signatures, and
//! finds the one that a token asks for. What it refuses to know: where the set came from, and when.
//! Invariants: an entry has one algorithm; two different keys of one id and algorithm find nothing, and the same key twice
//! is one key; secret and weak keys, and keys that would verify what was never signed, never enter; a document without a
//! usable key is a fault and not an empty set; a member that is `null` is absent.

use std::sync::atomic::{AtomicU64, Ordering};

use aws_lc_rs::digest;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ECDSA_P521_SHA512_FIXED,
    EcdsaVerificationAlgorithm, ParsedPublicKey,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::DecodingKey;
use serde_json::{Map, Value};

use super::algorithm::Algorithm;
use super::json;

/// Keys in one set. Large providers publish fewer than ten.
pub(super) const KEYS_LIMIT: usize = 100;

const RSA_MINIMUM_BITS: usize = 2048;
const RSA_LIMIT_BITS: usize = 8192;
/// The verifying library takes no larger exponent. Nearly all keys have 65537.
const RSA_EXPONENT_LIMIT_BITS: usize = 33;

/// The `y` of the points of Ed25519 whose order divides 8, little-endian, without the sign of `x`: orders 1, 2, 4, 8, 8.
/// Under such a key a signature that anyone can write holds for every message, or for one message in eight.
const SMALL_ORDER: [[u8; 32]; 5] = [
    [
        1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
        0, 0,
    ],
    [
        0xec, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
        0xff, 0x7f,
    ],
    [0; 32],
    [
        0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98,
        0xf0, 0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53,
        0xfc, 0x05,
    ],
    [
        0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67,
        0x0f, 0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac,
        0x03, 0x7a,
    ],
];

/// The usable keys of one JWK set.
pub(super) struct KeySet {
    /// Differs between any two sets of different content in this process, and is kept while the content
    /// stays: what was decided with one stamp holds only as long as that stamp is current.
    pub stamp: u64,
    content: [u8; 32],
    keys: Vec<VerifyKey>,
}

/// One public key and the one algorithm that it is used with.
#[derive(Clone)]
struct VerifyKey {
    id: Option<String>,
    algorithm: Algorithm,
    material: Material,
}

#[derive(Clone)]
enum Material {
    Library(Box<DecodingKey>),
    /// The library knows no ES512; verified by aws-lc-rs directly.
    P521(ParsedPublicKey),
}

/// Why a document is not a usable key set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeySetFault {
    /// Not strict JSON of the right shape.
    Malformed,
    /// More than 100 keys.
    TooMany,
    /// None that could verify a token of this issuer.
    NoUsableKey,
}

/// What a lookup finds.
pub(super) enum FoundKey<'a> {
    Key(KeyRef<'a>),
    /// The key exists and is for another algorithm: reading the keys anew would not help.
    OtherAlgorithm,
    Nothing,
}

/// A key that fits a token.
pub(super) struct KeyRef<'a>(&'a VerifyKey);

impl KeySet {
    /// Reads a JWK set. `allowed` is the issuer's list; its order decides what an RSA key without `alg` is for.
    pub(super) fn parse(document: &[u8], allowed: &[Algorithm]) -> Result<Self, KeySetFault> {
        Self::read(document, allowed, Purpose::Signatures)
    }

    /// Reads the keys for JWT-SVIDs out of the bundle of a SPIFFE trust domain (SPIFFE Trust Domain and Bundle section 4.2,
    /// JWT-SVID section 6).
    pub(super) fn parse_bundle(
        document: &[u8],
        allowed: &[Algorithm],
    ) -> Result<Self, KeySetFault> {
        Self::read(document, allowed, Purpose::JwtSvids)
    }

    /// Reads the keys for JWT-SVIDs that the Workload API gives by themselves (SPIFFE Workload API section 6.2.2): an ordinary
    /// JWK set, whose entries need not say what they are for; SPIRE's do not.
    pub(super) fn parse_agents_bundle(
        document: &[u8],
        allowed: &[Algorithm],
    ) -> Result<Self, KeySetFault> {
        Self::read(document, allowed, Purpose::AgentsJwtSvids)
    }

    /// Of an issuer that signs nothing.
    pub(super) fn none() -> Self {
        KeySet {
            stamp: next_stamp(),
            content: [0; 32],
            keys: Vec::new(),
        }
    }

    fn read(document: &[u8], allowed: &[Algorithm], purpose: Purpose) -> Result<Self, KeySetFault> {
        let mut document = json::object(document).ok_or(KeySetFault::Malformed)?;
        let Some(Value::Array(entries)) = document.remove("keys") else {
            return Err(KeySetFault::Malformed);
        };
        if entries.len() > KEYS_LIMIT {
            return Err(KeySetFault::TooMany);
        }
        let mut candidates = Vec::new();
        let mut spoiled = Vec::new();
        for entry in entries {
            let Value::Object(mut jwk) = entry else {
                return Err(KeySetFault::Malformed);
            };
            json::drop_nulls(&mut jwk);
            match KeySetEntry::read(&jwk, allowed, purpose) {
                KeySetEntry::Usable(candidate) => candidates.push(candidate),
                KeySetEntry::Spoils(id) => spoiled.push(id),
                KeySetEntry::NotForUs => {}
            }
        }
        candidates.retain(|candidate| {
            candidate
                .key
                .id
                .as_ref()
                .is_none_or(|id| !spoiled.contains(id))
        });
        let mut keys = Vec::new();
        let mut content = Vec::new();
        for candidate in &candidates {
            let is_left_out = candidates
                .iter()
                .any(|other| candidate.contradicts(other) || candidate.yields_to(other));
            // The same key for the same purpose, twice in the set, is one.
            if !is_left_out && !content.contains(&candidate.identity) {
                content.push(candidate.identity);
                keys.push(candidate.key.clone());
            }
        }
        if keys.is_empty() {
            return Err(KeySetFault::NoUsableKey);
        }
        content.sort_unstable();
        let mut hash = digest::Context::new(&digest::SHA256);
        for part in &content {
            hash.update(part.as_ref());
        }
        let mut content = [0; 32];
        content.copy_from_slice(hash.finish().as_ref());
        Ok(KeySet {
            stamp: next_stamp(),
            content,
            keys,
        })
    }

    /// This set, under the other's stamp if it holds the same keys.
    pub(super) fn continuing(mut self, previous: Option<&KeySet>) -> Self {
        if let Some(previous) = previous.filter(|previous| previous.content == self.content) {
            self.stamp = previous.stamp;
        }
        self
    }

    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    /// By id and algorithm together (RFC 8725 section 3.1). Without an id only the sole key for the
    /// algorithm is meant.
    pub(super) fn find(&self, id: Option<&str>, algorithm: Algorithm) -> FoundKey<'_> {
        let Some(id) = id else {
            let mut fitting = self.keys.iter().filter(|key| key.algorithm == algorithm);
            return match (fitting.next(), fitting.next()) {
                (Some(key), None) => FoundKey::Key(KeyRef(key)),
                _ => FoundKey::Nothing,
            };
        };
        let mut found = FoundKey::Nothing;
        for key in self.keys.iter().filter(|key| key.id.as_deref() == Some(id)) {
            if key.algorithm == algorithm {
                return FoundKey::Key(KeyRef(key));
            }
            found = FoundKey::OtherAlgorithm;
        }
        found
    }
}

fn next_stamp() -> u64 {
    static STAMPS: AtomicU64 = AtomicU64::new(1);
    STAMPS.fetch_add(1, Ordering::Relaxed)
}

/// A public key that came along with what it signed. It is held to what is asked of an issuer's keys.
pub(super) struct LoneKey(VerifyKey);

impl LoneKey {
    /// The key, if it is sound and may verify by this algorithm.
    pub(super) fn read(jwk: &Map<String, Value>, algorithm: Algorithm) -> Option<Self> {
        match KeySetEntry::read(jwk, &[algorithm], Purpose::Signatures) {
            KeySetEntry::Usable(candidate) => Some(LoneKey(candidate.key)),
            KeySetEntry::Spoils(_) | KeySetEntry::NotForUs => None,
        }
    }

    pub(super) fn verifies(&self, signed: &str, signature: &str) -> bool {
        KeyRef(&self.0).verifies(signed, signature)
    }
}

impl KeyRef<'_> {
    /// Whether `signature` (base64url) is this key's over `signed`.
    pub(super) fn verifies(&self, signed: &str, signature: &str) -> bool {
        match (&self.0.material, self.0.algorithm.library()) {
            (Material::Library(key), Some(algorithm)) => {
                matches!(
                    jsonwebtoken::crypto::verify(signature, signed.as_bytes(), key, algorithm),
                    Ok(true)
                )
            }
            (Material::P521(key), None) => URL_SAFE_NO_PAD
                .decode(signature)
                .is_ok_and(|raw| key.verify_sig(signed.as_bytes(), &raw).is_ok()),
            _ => false,
        }
    }
}

/// What one entry of a set is.
enum KeySetEntry {
    Usable(Candidate),
    /// A signature key that must not be used, with the id that it has: no other key of that id is trusted beside it.
    Spoils(String),
    /// For another purpose, or of an algorithm that is not known or not allowed.
    NotForUs,
}

/// A usable key, to be held against the set's others.
struct Candidate {
    key: VerifyKey,
    /// What tells this key, id and algorithm from any other.
    identity: [u8; 32],
    /// The public key alone.
    parts: Vec<u8>,
    /// Whether the entry has `alg`.
    is_named: bool,
}

impl Candidate {
    /// Another key that a token of this id and algorithm could mean as well. An RSA key without `alg` could be meant for
    /// any RSA algorithm.
    fn contradicts(&self, other: &Candidate) -> bool {
        let is_open = (!self.is_named || !other.is_named) && self.is_rsa() && other.is_rsa();
        self.key.id.is_some()
            && self.key.id == other.key.id
            && self.parts != other.parts
            && (self.key.algorithm == other.key.algorithm || is_open)
    }

    /// The same key stands there with `alg`: that alone says what it is for (RFC 8725 section 3.1).
    fn yields_to(&self, other: &Candidate) -> bool {
        self.key.id == other.key.id && self.parts == other.parts && !self.is_named && other.is_named
    }

    fn is_rsa(&self) -> bool {
        self.key.algorithm.is_rsa()
    }
}

impl KeySetEntry {
    /// Reads one JWK without `null` members.
    fn read(jwk: &Map<String, Value>, allowed: &[Algorithm], purpose: Purpose) -> KeySetEntry {
        if !purpose.is_of(jwk) {
            return KeySetEntry::NotForUs;
        }
        let id = match jwk.get("kid") {
            None => None,
            Some(Value::String(id)) => Some(id.clone()),
            Some(_) => return KeySetEntry::NotForUs,
        };
        let unusable = |id: Option<String>| id.map_or(KeySetEntry::NotForUs, KeySetEntry::Spoils);
        let operations = match jwk.get("key_ops") {
            None => true,
            Some(Value::Array(operations)) => {
                operations.iter().any(|operation| operation == "verify")
            }
            Some(_) => false,
        };
        // A private key in a public document is in everybody's hands.
        if !operations || jwk.contains_key("d") || jwk.contains_key("k") {
            return unusable(id);
        }
        let named = match jwk.get("alg") {
            None => None,
            Some(Value::String(name)) => match Algorithm::parse(name) {
                Some(algorithm) if allowed.contains(&algorithm) => Some(algorithm),
                _ => return KeySetEntry::NotForUs,
            },
            Some(_) => return unusable(id),
        };
        match Candidate::read(jwk, id.clone(), named, allowed) {
            Some(candidate) if allowed.contains(&candidate.key.algorithm) => {
                KeySetEntry::Usable(candidate)
            }
            Some(_) => KeySetEntry::NotForUs,
            None if is_known_kind(jwk, allowed) => unusable(id),
            None => KeySetEntry::NotForUs,
        }
    }
}

/// Whether sound keys of this kind could verify a token of the issuer.
fn is_known_kind(jwk: &Map<String, Value>, allowed: &[Algorithm]) -> bool {
    let text = |name| jwk.get(name).and_then(Value::as_str);
    match (text("kty"), text("crv")) {
        (Some("RSA"), _) => allowed.iter().any(|algorithm| algorithm.is_rsa()),
        (Some("EC"), Some("P-256" | "P-384" | "P-521")) | (Some("OKP"), Some("Ed25519")) => true,
        _ => false,
    }
}

impl Candidate {
    /// The key, if it is sound and for what `alg` says.
    fn read(
        jwk: &Map<String, Value>,
        id: Option<String>,
        named: Option<Algorithm>,
        allowed: &[Algorithm],
    ) -> Option<Candidate> {
        let (algorithm, material, parts) = match (
            jwk.get("kty")?.as_str()?,
            jwk.get("crv").and_then(Value::as_str),
        ) {
            ("RSA", _) => rsa(jwk, named, allowed)?,
            ("EC", Some("P-256")) => curve(jwk, Algorithm::Es256, 32, &ECDSA_P256_SHA256_FIXED)?,
            ("EC", Some("P-384")) => curve(jwk, Algorithm::Es384, 48, &ECDSA_P384_SHA384_FIXED)?,
            ("EC", Some("P-521")) => curve(jwk, Algorithm::Es512, 66, &ECDSA_P521_SHA512_FIXED)?,
            ("OKP", Some("Ed25519")) => {
                let point = bytes(jwk, "x").filter(|point| proves_possession(point))?;
                (
                    Algorithm::Ed25519,
                    Material::Library(Box::new(DecodingKey::from_ed_der(&point))),
                    point,
                )
            }
            _ => return None,
        };
        if named.is_some_and(|named| named != algorithm) {
            return None;
        }
        let mut hash = digest::Context::new(&digest::SHA256);
        hash.update(format!("{algorithm:?} {id:?} ").as_bytes());
        hash.update(&parts);
        let mut identity = [0; 32];
        identity.copy_from_slice(hash.finish().as_ref());
        Some(Candidate {
            key: VerifyKey {
                id,
                algorithm,
                material,
            },
            identity,
            parts,
            is_named: named.is_some(),
        })
    }
}

/// What the keys of a set are to verify.
#[derive(Clone, Copy)]
enum Purpose {
    Signatures,
    JwtSvids,
    AgentsJwtSvids,
}

impl Purpose {
    /// Whether an entry is for this. In a bundle it must say so, as others there are for certificates, and have an id.
    fn is_of(self, jwk: &Map<String, Value>) -> bool {
        let named = jwk.get("use");
        let is_sig = named.is_none_or(|named| named == "sig");
        let is_svid = named.is_some_and(|named| named == "jwt-svid");
        let has_id = jwk.get("kid").is_some_and(Value::is_string);
        match self {
            Purpose::Signatures => is_sig,
            Purpose::JwtSvids => is_svid && has_id,
            Purpose::AgentsJwtSvids => (is_svid || is_sig) && has_id,
        }
    }
}

/// A member in base64url.
fn bytes(jwk: &Map<String, Value>, name: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(jwk.get(name)?.as_str()?).ok()
}

/// An RSA key (RFC 7518 section 6.3). Without `alg` it serves the first RSA algorithm of the issuer's list.
fn rsa(
    jwk: &Map<String, Value>,
    named: Option<Algorithm>,
    allowed: &[Algorithm],
) -> Option<(Algorithm, Material, Vec<u8>)> {
    let algorithm =
        named.or_else(|| allowed.iter().copied().find(|algorithm| algorithm.is_rsa()))?;
    if !algorithm.is_rsa() {
        return None;
    }
    let integer = |name| {
        let raw = bytes(jwk, name)?;
        let first = raw.iter().position(|byte| *byte != 0)?;
        raw.get(first..).map(<[u8]>::to_vec)
    };
    let (modulus, exponent) = (integer("n")?, integer("e")?);
    let bits = |number: &[u8]| {
        (number.len() * 8).checked_sub(usize::try_from(number.first()?.leading_zeros()).ok()?)
    };
    let odd = |number: &[u8]| number.last().is_some_and(|byte| byte & 1 == 1);
    // RFC 8017 section 3.1: both are odd, and the exponent is at least 3. With 1, every message is its own signature.
    let plausible = odd(&modulus)
        && odd(&exponent)
        && (2..=RSA_EXPONENT_LIMIT_BITS).contains(&bits(&exponent)?);
    if !(RSA_MINIMUM_BITS..=RSA_LIMIT_BITS).contains(&bits(&modulus)?)
        || !plausible
        || has_roca_structure(&modulus)
    {
        return None;
    }
    let material = Material::Library(Box::new(DecodingKey::from_rsa_raw_components(
        &modulus, &exponent,
    )));
    let parts = modulus
        .len()
        .to_be_bytes()
        .into_iter()
        .chain(modulus)
        .chain(exponent)
        .collect();
    Some((algorithm, material, parts))
}

/// Whether an Ed25519 key is one that only its owner can sign for: in canonical form (RFC 8032 section 5.1.3 step 1: `y`
/// below the field's prime), and of large order (the rule of the libraries' strict verification; RFC 8032 section 5.1.7
/// leaves it to the application).
fn proves_possession(point: &[u8]) -> bool {
    let Ok(mut y) = <[u8; 32]>::try_from(point) else {
        return false;
    };
    let [least, middle @ .., most] = &mut y;
    *most &= 0x7f;
    // The prime is 2^255 - 19: its last byte first, 0xed and 30 of 0xff.
    let canonical = *least < 0xed || *most != 0x7f || middle.iter().any(|byte| *byte != 0xff);
    canonical && !SMALL_ORDER.contains(&y)
}

/// A key on one of the NIST curves (RFC 7518 section 6.2.1); coordinates have the field's full width.
fn curve(
    jwk: &Map<String, Value>,
    algorithm: Algorithm,
    width: usize,
    verification: &'static EcdsaVerificationAlgorithm,
) -> Option<(Algorithm, Material, Vec<u8>)> {
    let (x, y) = (bytes(jwk, "x")?, bytes(jwk, "y")?);
    if x.len() != width || y.len() != width {
        return None;
    }
    let point: Vec<u8> = std::iter::once(4).chain(x).chain(y).collect();
    // Parsing checks that both coordinates are below the field's prime and the point lies on the curve (SEC 1 section
    // 3.2.2.1); the curves have no point of small order, and the point at infinity cannot be written like this.
    let parsed = ParsedPublicKey::new(verification, &point).ok()?;
    let material = match algorithm.library() {
        Some(_) => Material::Library(Box::new(DecodingKey::from_ec_der(&point))),
        None => Material::P521(parsed),
    };
    Some((algorithm, material, point))
}

/// Whether an RSA modulus comes from the broken generator of CVE-2017-15361: such moduli are powers of
/// 65537 modulo every small prime. A sound modulus passes for one less than once in 2^27.
fn has_roca_structure(modulus: &[u8]) -> bool {
    const PRIMES: [u32; 38] = [
        3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89,
        97, 101, 103, 107, 109, 113, 127, 131, 137, 139, 149, 151, 157, 163, 167,
    ];
    PRIMES.iter().all(|prime| {
        let remainder = modulus
            .iter()
            .fold(0, |rest, byte| (rest * 256 + u32::from(*byte)) % prime);
        let mut power = 1;
        for _ in 0..*prime {
            if power == remainder {
                return true;
            }
            power = power * (65_537 % prime) % prime;
        }
        false
    })
}

#[cfg(test)]
mod tests;
