//! A browser's login through the room, from the first redirect to the provider's logout, against the embedded issuer.
//! What it refuses to know: the gateway's pages.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use lightkeeper::accept::{Caller, ReturnPath, SessionCookie};
use lightkeeper::clock::Clock;
use lightkeeper::identify::{
    ALGORITHMS, ClaimPath, CliConfiguration, CliSettings, Events, Identifier, IssuerSettings,
    KeyAccess, KeySource, LoginSettings, Method, PolicyClaims, SetCookie, Surroundings,
    TokensTaken,
};
use lightkeeper::reason::Reason;
use lightkeeper::secret::SecretRef;
use testkit::{Issuer, SampleCaller};

use crate::folder::Folder;

const ORIGIN: &str = "https://localhost:8443";
const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// A folder with the secrets of a login.
fn furnished() -> Folder {
    let folder = Folder::new();
    std::fs::write(folder.join("session-key"), "0f".repeat(32)).unwrap();
    std::fs::write(
        folder.join("client-secret"),
        "lightkeeper-web-secret
",
    )
    .unwrap();
    folder
}

async fn room(
    issuer: &Issuer,
    folder: &Folder,
    change: impl FnOnce(&mut LoginSettings),
) -> Identifier {
    let settings = IssuerSettings {
        name: "acme".to_owned(),
        issuer: issuer.url().to_owned(),
        audiences: vec!["lightkeeper".to_owned(), "https://own.example".to_owned()],
        algorithms: ALGORITHMS.map(str::to_owned).to_vec(),
        keys: KeySource::Discovery,
        ca: None,
        key_access: KeyAccess::default(),
        egress: Default::default(),
        subject_claims: vec![ClaimPath::parse("sub").unwrap()],
        groups_claim: ClaimPath::parse("groups").unwrap(),
        audience_claim: ClaimPath::parse("aud").unwrap(),
        types: vec!["at+jwt".to_owned()],
        header: None,
        tokens: TokensTaken::Access,
        dpop_required: false,
        login_clients: vec!["lightkeeper-web".to_owned(), "lightkeeper-cli".to_owned()],
        accepts_unverified_email: false,
        leeway: Duration::from_secs(30),
        max_lifetime: Duration::from_secs(24 * 3600),
        stale_keys: Duration::from_secs(3600),
        refresh: Duration::from_secs(3600),
        introspection: None,
        cluster: None,
        attributes: Vec::new(),
    };
    let mut login = LoginSettings {
        issuer: "acme".to_owned(),
        client_id: "lightkeeper-web".to_owned(),
        client_secret: None,
        scopes: ["openid", "profile", "email", "groups"]
            .map(str::to_owned)
            .to_vec(),
        groups_from_userinfo: false,
        lifetime: Duration::from_secs(8 * 3600),
        idle: Duration::from_secs(1800),
        keys: vec![SecretRef::File(folder.join("session-key"))],
        policy_claims: PolicyClaims::default(),
        cli: Some(CliSettings {
            client_id: "lightkeeper-cli".to_owned(),
            scopes: vec!["openid".to_owned()],
            audience: Some("lightkeeper".to_owned()),
        }),
    };
    change(&mut login);
    let surroundings = Surroundings {
        clock: Clock::system(),
        token_bytes: 16 << 10,
        events: Events::ignored(),
        runtime: tokio::runtime::Handle::current(),
    };
    let identifier = Identifier::new(&[settings], Vec::new(), surroundings, None).unwrap();
    identifier.settled(Duration::from_secs(20)).await;
    identifier.with_login(Some(&login), None).unwrap()
}

fn value(cookie: &SetCookie) -> String {
    cookie
        .0
        .split(';')
        .next()
        .unwrap()
        .split_once('=')
        .unwrap()
        .1
        .to_owned()
}

/// What a browser does with the authorization address: picks a person and follows the redirect.
async fn browse(issuer: &Issuer, location: &str, person: &str) -> Vec<(String, String)> {
    let path = location.strip_prefix(issuer.url()).unwrap();
    let answer = SampleCaller::new(issuer.url())
        .get(&format!("{path}&login_hint={person}"))
        .await
        .unwrap();
    assert_eq!(answer.status, 303);
    let location = openidconnect::url::Url::parse(&answer.header("location").unwrap()).unwrap();
    assert!(
        location
            .as_str()
            .starts_with(&format!("{ORIGIN}/.lightkeeper/callback?")),
        "{location}"
    );
    location
        .query_pairs()
        .map(|(name, value)| (name.into_owned(), value.into_owned()))
        .collect()
}

fn visitor(session: &str) -> Caller {
    let session = SessionCookie {
        value: session.to_owned().into(),
        origin: ORIGIN.to_owned(),
    };
    let address = std::net::Ipv4Addr::LOCALHOST.into();
    Caller {
        token: None,
        certificate: None,
        session: Some(session),
        proof: None,
        address,
    }
}

/// Scenario: people log in as public or confidential client, with groups from the ID token or userinfo; then one logs
/// out. Guarantees: the session says who they are, ends at logout, and the provider sends the browser back to us.
#[tokio::test]
async fn people_log_in_and_out() {
    let issuer = Issuer::start().await.unwrap();
    let folder = furnished();
    let secret = Some(SecretRef::File(folder.join("client-secret")));
    for (person, userinfo, client_secret, groups) in [
        ("ann", false, None, &["shop-developers"][..]),
        ("lea", true, secret, &["shop-leads", "shop-developers"]),
        ("eve", true, None, &[]),
    ] {
        let room = room(&issuer, &folder, |login| {
            login.groups_from_userinfo = userinfo;
            login.client_secret = client_secret;
        });
        let room = room.await;
        let login = room.login().unwrap();
        let clock = Clock::system();
        let now = clock.now();
        let home = ReturnPath::parse("/.lightkeeper/apps/shop").unwrap();
        let begun = login.begin(&home, ORIGIN, now).await.unwrap();
        let answer = browse(&issuer, &begun.location, person).await;
        let finished = login
            .finish(&answer, Some(&value(&begun.cookie)), ORIGIN, HERE, &clock)
            .await
            .unwrap();
        assert_eq!(finished.return_to, home);
        let session = value(&finished.session);
        let identity = room.identify(visitor(&session)).await.unwrap();
        let facts = identity.facts();
        assert_eq!((facts.method, &*facts.issuer), (Method::Session, "acme"));
        assert_eq!(&*facts.subject, format!("{person}@acme.example"));
        assert_eq!(facts.groups, groups);
        assert_eq!(identity.session().unwrap().name, person);

        let again = login
            .finish(&answer, Some(&value(&begun.cookie)), ORIGIN, HERE, &clock)
            .await
            .err()
            .map(|unfinished| unfinished.fault);
        assert_eq!(again, Some(Reason::LoginTransactionSpent));
        let place = login
            .end(&visitor(&session).session.unwrap(), now)
            .await
            .unwrap();
        assert_eq!(
            room.identify(visitor(&session))
                .await
                .unwrap_err()
                .reason
                .code(),
            "session_revoked"
        );
        let path = place.strip_prefix(issuer.url()).unwrap();
        // The development issuer only sends browsers back to this machine, which `ORIGIN` is.
        let answer = SampleCaller::new(issuer.url()).get(path).await.unwrap();
        assert_eq!(
            answer.header("location"),
            Some(format!("{ORIGIN}/.lightkeeper/signed-out"))
        );
    }
}

/// Scenario: the code of one login is put into another, the provider says no, or is gone. Guarantees: no session.
#[tokio::test]
async fn a_login_that_goes_wrong_makes_no_session() {
    let issuer = Issuer::start().await.unwrap();
    let folder = furnished();
    let room = room(&issuer, &folder, |_| ()).await;
    let login = room.login().unwrap();
    let clock = Clock::system();
    let now = clock.now();
    let home = ReturnPath::home();
    let begin = || login.begin(&home, ORIGIN, now);
    let (mine, theirs) = (begin().await.unwrap(), begin().await.unwrap());
    let mut answer = browse(&issuer, &mine.location, "ann").await;
    let stolen = browse(&issuer, &theirs.location, "sam").await;
    // Code injection (RFC 9700 section 4.5): the provider refuses the code because the verifier is another's.
    answer
        .iter_mut()
        .find(|(name, _)| name == "code")
        .unwrap()
        .1 = stolen
        .iter()
        .find(|(name, _)| name == "code")
        .unwrap()
        .1
        .clone();
    let fault = login
        .finish(&answer, Some(&value(&mine.cookie)), ORIGIN, HERE, &clock)
        .await
        .err()
        .map(|unfinished| unfinished.fault);
    assert_eq!(fault, Some(Reason::LoginCodeRefused));

    let mine = begin().await.unwrap();
    let answer = browse(&issuer, &mine.location, "nobody").await;
    let fault = login
        .finish(&answer, Some(&value(&mine.cookie)), ORIGIN, HERE, &clock)
        .await
        .err()
        .map(|unfinished| unfinished.fault);
    assert_eq!(fault, Some(Reason::LoginAccessDenied));

    let mine = begin().await.unwrap();
    let answer = browse(&issuer, &mine.location, "ann").await;
    issuer.set_down(true);
    let fault = login
        .finish(&answer, Some(&value(&mine.cookie)), ORIGIN, HERE, &clock)
        .await
        .err()
        .map(|unfinished| unfinished.fault);
    assert_eq!(fault, Some(Reason::LoginProviderUnreachable));
    let expected = CliConfiguration {
        issuer_url: issuer.url().to_owned(),
        client_id: "lightkeeper-cli".to_owned(),
        scopes: vec!["openid".to_owned()],
        audience: Some("lightkeeper".to_owned()),
    };
    assert_eq!(login.configuration(ORIGIN), Some(expected.clone()));
    // An audience that is the gateway's own address needs no setting.
    let named = CliConfiguration {
        audience: Some("https://own.example".to_owned()),
        ..expected
    };
    let room = self::room(&issuer, &folder, |login| {
        login.cli.as_mut().unwrap().audience = None
    })
    .await;
    let configuration = |origin: &str| room.login().unwrap().configuration(origin).unwrap();
    assert_eq!(configuration("https://own.example"), named);
    assert_eq!(configuration(ORIGIN).audience, None);
}
