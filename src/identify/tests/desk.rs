//! A room where people log in, at a provider on loopback that says what it is told to.
//!
//! What it does: begins logins, mints the provider's answers, and shows cookies to the room. What it refuses to know:
//! what the room should say. Invariant: compiled for tests only.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::super::forge::{Answer, Folder, Loopback, NOW, RSA, World, issuer};
use super::super::login::Unfinished;
use super::super::{Identifier, IssuerSettings, KeySource, LoginSettings, PolicyClaims, SetCookie};
use crate::accept::{Caller, ClientChain, ReturnPath, SessionCookie};
use crate::clock::UnixMillis;
use crate::identify::{Identity, Rejection};
use crate::reason::Reason;
use crate::secret::SecretRef;

pub(super) const ORIGIN: &str = "https://gateway.example";
pub(super) const ACCESS_TOKEN: &str = "canary-access-token";

pub(super) struct Desk {
    pub world: World,
    pub provider: Loopback,
    pub folder: Folder,
    pub settings: LoginSettings,
    pub issuer: IssuerSettings,
    pub identifier: Identifier,
}

/// A login under way, as the browser sees it.
pub(super) struct Visit {
    /// The query of the authorization address.
    pub asked: HashMap<String, String>,
    pub location: String,
    /// The login cookie's value.
    pub transaction: String,
}

impl Desk {
    pub(super) async fn open() -> Self {
        Desk::open_with(|_, _| ()).await
    }

    /// `change`: of the login's settings and of the discovery document.
    pub(super) async fn open_with(change: impl FnOnce(&mut LoginSettings, &mut Value)) -> Self {
        let world = World::new();
        let provider = Loopback::start(json!([RSA.jwk_with(json!({"kid": "rs"}))])).await;
        let folder = Folder::new();
        let key =
            SecretRef::File(folder.write("key-a", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="));
        let issuer = IssuerSettings {
            issuer: provider.url(""),
            ..issuer(KeySource::Url(provider.url("/keys")))
        };
        let mut settings = LoginSettings {
            issuer: "idp".to_owned(),
            client_id: "web".to_owned(),
            client_secret: None,
            scopes: ["openid", "profile"].map(str::to_owned).to_vec(),
            groups_from_userinfo: false,
            lifetime: Duration::from_secs(8 * 3600),
            idle: Duration::from_secs(1800),
            keys: vec![key],
            policy_claims: PolicyClaims::default(),
            cli: None,
        };
        let mut document = metadata(&provider);
        change(&mut settings, &mut document);
        *provider.discovery.lock().unwrap() = Answer::json(document);
        let identifier = world.identifier(std::slice::from_ref(&issuer), None);
        identifier.settled(Duration::from_secs(20)).await;
        let policy_claims = vec![("idp".to_owned(), settings.policy_claims.clone())];
        let identifier = identifier
            .with_policy_claims(policy_claims)
            .with_login(Some(&settings), None)
            .unwrap();
        Desk {
            world,
            provider,
            folder,
            settings,
            issuer,
            identifier,
        }
    }

    /// The same desk after a reload with other settings.
    pub(super) fn reload(&mut self, settings: Option<LoginSettings>) {
        let issuers = std::slice::from_ref(&self.issuer);
        let claims = settings
            .iter()
            .map(|settings| ("idp".to_owned(), settings.policy_claims.clone()));
        let fresh = self
            .world
            .identifier(issuers, Some(&self.identifier))
            .with_policy_claims(claims.collect());
        self.identifier = fresh
            .with_login(settings.as_ref(), Some(&self.identifier))
            .unwrap();
    }

    /// A file with another session key.
    pub(super) fn key(&self, name: &str, byte: u8) -> SecretRef {
        SecretRef::File(self.folder.write(name, format!("{byte:02x}").repeat(32)))
    }

    pub(super) fn now(&self) -> UnixMillis {
        self.world.surroundings.clock.now()
    }

    pub(super) async fn begin(&self) -> Result<Visit, Reason> {
        let home = ReturnPath::parse("/.lightkeeper/apps/shop?x=1").unwrap();
        let begun = self
            .identifier
            .login()
            .unwrap()
            .begin(&home, ORIGIN, self.now())
            .await?;
        let place = openidconnect::url::Url::parse(&begun.location).unwrap();
        let asked = place
            .query_pairs()
            .map(|(name, value)| (name.into_owned(), value.into_owned()))
            .collect();
        Ok(Visit {
            asked,
            transaction: value(&begun.cookie),
            location: begun.location,
        })
    }

    /// Lets the token endpoint answer a visit with the usual ID token, changed.
    pub(super) fn grant(&self, visit: &Visit, changes: Value) {
        let mut claims = json!({"iss": self.issuer.issuer, "aud": "web", "nonce": visit.asked["nonce"],
                                "name": "Ada Lovelace", "email": "ada@acme.example", "email_verified": true,
                                "secret_thing": "canary-claim"});
        claims
            .as_object_mut()
            .unwrap()
            .extend(changes.as_object().unwrap().clone());
        self.grant_token(&RSA.token("RS256", "rs", claims));
    }

    pub(super) fn grant_token(&self, id_token: &str) {
        let body = json!({"access_token": ACCESS_TOKEN, "token_type": "Bearer", "id_token": id_token,
                          "refresh_token": "canary-refresh-token", "expires_in": 300});
        self.provider.page("/token", Answer::json(body));
    }

    /// The callback of a visit that went well.
    pub(super) fn answer(&self, visit: &Visit) -> Vec<(String, String)> {
        pairs(&[
            ("code", "c"),
            ("state", &visit.asked["state"]),
            ("iss", &self.issuer.issuer),
        ])
    }

    /// The session cookie's value, or the code against it.
    pub(super) async fn finish(
        &self,
        answer: &[(String, String)],
        transaction: Option<&str>,
    ) -> Result<String, &'static str> {
        self.finish_from(Ipv4Addr::LOCALHOST, answer, transaction)
            .await
            .map_err(|unfinished| unfinished.fault.code())
    }

    /// The same from an address.
    pub(super) async fn finish_from(
        &self,
        address: Ipv4Addr,
        answer: &[(String, String)],
        transaction: Option<&str>,
    ) -> Result<String, Unfinished> {
        let clock = &self.world.surroundings.clock;
        let login = self.identifier.login().unwrap();
        let finished = login
            .finish(answer, transaction, ORIGIN, address.into(), clock)
            .await;
        finished.map(|finished| value(&finished.session))
    }

    /// A whole login with a changed ID token.
    pub(super) async fn login(&self, changes: Value) -> Result<String, &'static str> {
        let visit = self.begin().await.map_err(Reason::code)?;
        self.grant(&visit, changes);
        self.finish(&self.answer(&visit), Some(&visit.transaction))
            .await
    }

    pub(super) async fn show(&self, session: &str) -> Result<Identity, Rejection> {
        self.identifier
            .identify(visitor(session, ORIGIN, None))
            .await
    }

    /// The subject of a session, or the reason against it.
    pub(super) async fn verdict(&self, session: &str) -> Result<String, &'static str> {
        let identity = self.show(session).await;
        identity
            .map(|identity| identity.facts().subject.to_string())
            .map_err(|rejection| rejection.reason.code())
    }

    pub(super) fn later(&self, seconds: i64) {
        self.world.move_to(NOW + seconds);
    }
}

pub(super) fn metadata(provider: &Loopback) -> Value {
    json!({
        "issuer": provider.url(""),
        "authorization_endpoint": provider.url("/authorize?tenant=a"),
        "token_endpoint": provider.url("/token"),
        "userinfo_endpoint": provider.url("/userinfo"),
        "end_session_endpoint": provider.url("/logout"),
        "jwks_uri": provider.url("/keys"),
        "response_types_supported": ["code"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256", "ML-DSA-44"],
        "code_challenge_methods_supported": ["plain", "S256"],
        "authorization_response_iss_parameter_supported": true,
    })
}

pub(super) fn visitor(
    session: &str,
    origin: &str,
    certificate: Option<Arc<ClientChain>>,
) -> Caller {
    let session = SessionCookie {
        value: Zeroizing::new(session.to_owned()),
        origin: origin.to_owned(),
    };
    Caller {
        token: None,
        certificate,
        session: Some(session),
        proof: None,
        address: Ipv4Addr::LOCALHOST.into(),
    }
}

pub(super) fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

/// The value of a whole cookie.
pub(super) fn value(cookie: &SetCookie) -> String {
    let first = cookie.0.split(';').next().unwrap();
    first.split_once('=').unwrap().1.to_owned()
}
