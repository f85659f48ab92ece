//! AWS roles at the command line: `token --aws` and `connect --aws` with credentials from each place where AWS's own tools find
//! them. AWS's services are stand-ins on this machine; the gateway, and the STS that checks what was signed, are the testkit's.

use std::sync::Arc;

use http::{Method, Request, Response};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use lightkeeper::otlp::Encoding;
use serde_json::{Value, json};
use testkit::server::{Connection, Payload, Reply, Server, Service, whole};
use testkit::world::{AWS_ACCOUNT, AWS_AUDIENCE, AWS_REGION};
use testkit::{AwsCaller, Sample, SampleCaller, World, WorldPlan};
use tokio::net::TcpListener;

use super::desk::{Desk, Program};

const NEVER: &str = "2999-01-01T00:00:00Z";

/// A start URL of single sign-on, and the names that AWS's tools give the files of its token: SHA-1 of the URL, and of the
/// session's name `acme`.
const START_URL: &str = "https://acme.awsapps.example/start";
const START_URL_TOKEN: &str = ".aws/sso/cache/8f5d5d7a40b03cb053910ce2e653d4356fa1ac6a.json";
const SESSION_TOKEN: &str = ".aws/sso/cache/293abb6b76d7791c0732cc517d38c4b5c734b87f.json";

/// The services that hand out credentials: a container's, an instance's, STS for web identities, and the portal of single sign-on.
struct Places;

impl Service for Places {
    fn answer(self: Arc<Self>, request: Request<Incoming>, _: Connection) -> Reply {
        Box::pin(async move {
            let (head, body) = request.into_parts();
            if head.uri.path() == "/federation/credentials" {
                return portal(&head);
            }
            let body = body.collect().await.map(|body| body.to_bytes());
            let body = String::from_utf8_lossy(&body.unwrap_or_default()).into_owned();
            let (status, answer) = said(&head.method, head.uri.path(), &body);
            let mut response: Response<Payload> = Response::new(whole(answer));
            *response.status_mut() = status.try_into().unwrap();
            let life = "21600".parse().unwrap();
            let headers = response.headers_mut();
            headers.insert("x-aws-ec2-metadata-token-ttl-seconds", life);
            response
        })
    }
}

/// What the portal says to those who show the token of their login.
fn portal(head: &http::request::Parts) -> Response<Payload> {
    let role_of = |query: &str| {
        let name = query
            .split('&')
            .find_map(|pair| pair.strip_prefix("role_name="));
        name.map(role)
    };
    let shown = head.headers.get("x-amz-sso_bearer_token");
    let keys = head
        .uri
        .query()
        .filter(|query| query.contains(AWS_ACCOUNT))
        .filter(|_| shown.is_some_and(|token| token == "a-login"))
        .and_then(role_of)
        .map(|role| role.keys);
    match keys {
        Some(keys) => Response::new(whole(
            json!({"roleCredentials": {
                "accessKeyId": keys.access_key, "secretAccessKey": keys.secret_key, "sessionToken": keys.session_token,
                "expiration": 32_472_144_000_000_i64,
            }})
            .to_string(),
        )),
        None => {
            let mut refused = Response::new(whole("{}"));
            *refused.status_mut() = http::StatusCode::UNAUTHORIZED;
            refused
        }
    }
}

fn said(method: &Method, path: &str, body: &str) -> (u16, String) {
    match (method, path) {
        (&Method::GET, "/container") => (200, session(&role("checkout-task")).to_string()),
        (&Method::PUT, "/latest/api/token") => (200, "a-token".to_owned()),
        (&Method::GET, "/latest/meta-data/iam/security-credentials/") => {
            (200, "checkout-instance".to_owned())
        }
        (&Method::GET, "/latest/meta-data/iam/security-credentials/checkout-instance") => {
            (200, session(&role("checkout-instance")).to_string())
        }
        (&Method::POST, "/") if body.contains("WebIdentityToken=a-pods-token") => {
            let keys = role("checkout-pod").keys;
            (
                200,
                format!(
                    "<AssumeRoleWithWebIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">\
                     <AssumeRoleWithWebIdentityResult><Credentials><AccessKeyId>{}</AccessKeyId><SecretAccessKey>{}</SecretAccessKey>\
                     <SessionToken>{}</SessionToken><Expiration>{NEVER}</Expiration></Credentials>\
                     </AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>",
                    keys.access_key,
                    keys.secret_key,
                    keys.session_token.unwrap()
                ),
            )
        }
        _ => (404, String::new()),
    }
}

/// What services and processes say of a session's credentials.
fn session(caller: &AwsCaller) -> Value {
    let keys = &caller.keys;
    json!({
        "Version": 1, "Code": "Success", "Type": "AWS-HMAC", "LastUpdated": "2026-01-01T00:00:00Z", "Expiration": NEVER,
        "AccessKeyId": keys.access_key, "SecretAccessKey": keys.secret_key,
        "Token": keys.session_token, "SessionToken": keys.session_token,
    })
}

fn role(name: &str) -> AwsCaller {
    AwsCaller::role(AWS_ACCOUNT, name, "i-0abc")
}

/// The demonstration's world with AWS, where these roles are known.
async fn world(roles: &[&str]) -> World {
    let world = World::start_with(WorldPlan::default().with_aws()).await;
    let world = world.unwrap();
    for name in roles {
        world.sts.as_ref().unwrap().add(role(name));
    }
    world
}

fn variables_of(caller: &AwsCaller) -> Vec<(&'static str, String)> {
    let keys = caller.keys.clone();
    vec![
        ("AWS_ACCESS_KEY_ID", keys.access_key),
        ("AWS_SECRET_ACCESS_KEY", keys.secret_key),
        ("AWS_SESSION_TOKEN", keys.session_token.unwrap_or_default()),
        ("AWS_REGION", AWS_REGION.to_owned()),
    ]
}

/// Pairs as a command takes them; no machine of AWS is looked for where none is meant.
fn pairs<'a>(variables: &'a [(&'static str, String)]) -> Vec<(&'a str, &'a str)> {
    [("AWS_EC2_METADATA_DISABLED", "true")]
        .into_iter()
        .chain(
            variables
                .iter()
                .map(|(name, value)| (*name, value.as_str())),
        )
        .collect()
}

/// Scenario: credentials of another role in each place: the environment, a profile, a profile's process, a container's service, an
/// instance's, a pod's token for a web identity, and a login at single sign-on, by its start URL and by its session. Guarantees: `token --aws` finds and signs with them, and the gateway, which has
/// AWS check the signature, takes each caller for its role; the secret is printed nowhere.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_role_is_found_wherever_awss_own_tools_find_it() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let places = Server::start(listener, None, Arc::new(Places))
        .await
        .unwrap();
    let base = format!("http://{}", places.address());
    let desk = Desk::new();
    let keys = role("checkout-profile").keys;
    desk.write(
        ".aws/credentials",
        &format!(
            "[ci]\naws_access_key_id = {}\naws_secret_access_key = {}\naws_session_token = {}\n",
            keys.access_key,
            keys.secret_key,
            keys.session_token.unwrap()
        ),
    );
    let printed = desk.write(
        "printed.json",
        &session(&role("checkout-process")).to_string(),
    );
    desk.write(
        ".aws/config",
        &format!(
            "[profile ci]\nregion = {AWS_REGION}\n[profile process]\nregion = {AWS_REGION}\ncredential_process = cat {printed}\n\
             [profile person]\nregion = {AWS_REGION}\nsso_start_url = {START_URL}\nsso_region = {AWS_REGION}\n\
             sso_account_id = {AWS_ACCOUNT}\nsso_role_name = checkout-person\n\
             [profile team]\nregion = {AWS_REGION}\nsso_session = acme\nsso_account_id = {AWS_ACCOUNT}\n\
             sso_role_name = checkout-team\n\
             [sso-session acme]\nsso_region = {AWS_REGION}\nsso_start_url = {START_URL}\n"
        ),
    );
    let login = json!({"accessToken": "a-login", "expiresAt": NEVER, "region": AWS_REGION, "startUrl": START_URL});
    for name in [START_URL_TOKEN, SESSION_TOKEN] {
        desk.write(name, &login.to_string());
    }
    let signed_on = |profile: &str| {
        let portal = ("AWS_ENDPOINT_URL_SSO", base.clone());
        vec![("AWS_PROFILE", profile.to_owned()), portal]
    };
    let pod = desk.write("pod-token", "a-pods-token");
    let region = || ("AWS_REGION", AWS_REGION.to_owned());
    let cases = [
        (
            "checkout-variables",
            variables_of(&role("checkout-variables")),
        ),
        ("checkout-profile", vec![("AWS_PROFILE", "ci".to_owned())]),
        (
            "checkout-process",
            vec![("AWS_PROFILE", "process".to_owned())],
        ),
        (
            "checkout-task",
            vec![
                region(),
                (
                    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
                    format!("{base}/container"),
                ),
            ],
        ),
        (
            "checkout-instance",
            vec![
                region(),
                ("AWS_EC2_METADATA_DISABLED", "false".to_owned()),
                ("AWS_EC2_METADATA_SERVICE_ENDPOINT", base.clone()),
            ],
        ),
        ("checkout-person", signed_on("person")),
        ("checkout-team", signed_on("team")),
        (
            "checkout-pod",
            vec![
                region(),
                ("AWS_WEB_IDENTITY_TOKEN_FILE", pod),
                (
                    "AWS_ROLE_ARN",
                    format!("arn:aws:iam::{AWS_ACCOUNT}:role/checkout-pod"),
                ),
                ("AWS_ENDPOINT_URL_STS", base.clone()),
            ],
        ),
    ];
    let names: Vec<&str> = cases.iter().map(|(name, _)| *name).collect();
    let world = world(&names).await;
    for (name, variables) in &cases {
        let signed = desk.run_with(
            &["token", "--aws", "--audience", AWS_AUDIENCE],
            &pairs(variables),
        );
        assert_eq!(signed.status, 0, "{name}: {signed:?}");
        let secret = role(name).keys.secret_key;
        assert!(
            !signed.out.contains(&secret) && !signed.err.contains(&secret),
            "{name}"
        );
        let me = world.plain_caller().bearer(signed.out.trim());
        let me = me.get("/.lightkeeper/whoami").await.unwrap();
        assert_eq!(
            me.json().unwrap()["subject"],
            json!(format!("arn:aws:iam::{AWS_ACCOUNT}:role/{name}")),
            "{name}: {}",
            me.text()
        );
    }
    assert_eq!(world.sts.as_ref().unwrap().calls().len(), cases.len());
}

fn connect(desk: &Desk, gateway: &str, variables: &[(&'static str, String)]) -> Program {
    let arguments = [
        "connect",
        "--aws",
        "--audience",
        AWS_AUDIENCE,
        "--gateway",
        gateway,
        "--listen",
        "127.0.0.1:0",
    ];
    desk.start_with(&arguments, &pairs(variables))
}

/// Scenario: a machine with a role and without a login opens a local port; tools report and ask through it. Guarantees: all is the
/// role's; one proof serves them all, so that AWS is asked once; the organization is told for those who need its name.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tools_report_as_the_machines_role() {
    let world = world(&["checkout-machine"]).await;
    let desk = Desk::new();
    let program = connect(
        &desk,
        &world.plain_url(),
        &variables_of(&role("checkout-machine")),
    );
    let line = program.out.wait(|line| line.starts_with("Listening on "));
    let base = line.split_whitespace().nth(2).unwrap().to_owned();
    let line = program.out.wait(|line| line.contains("LIGHTSTEP_API_KEY="));
    assert!(line.contains("LIGHTSTEP_ORG=acme "), "{line}");
    let key = line.split_once("LIGHTSTEP_API_KEY=").unwrap().1.to_owned();
    let tool = SampleCaller::new(&base).header("authorization", &format!("bearer {key}"));
    for _ in 0..3 {
        let sample = Sample::traces("some-service", 1);
        let answer = tool.export(&sample, Encoding::Protobuf).await.unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    let exports = world.emulator.exports();
    assert_eq!(exports.len(), 3);
    let arn = format!("arn:aws:iam::{AWS_ACCOUNT}:role/checkout-machine");
    for export in &exports {
        assert_eq!(export.project, "checkout-prod");
        assert_eq!(
            export.resources[0].values("lightkeeper.identity"),
            [arn.as_str()]
        );
    }
    // A slow machine signs more than one in the time of this test.
    let calls = world.sts.as_ref().unwrap().calls().len();
    assert!((1..=3).contains(&calls), "{calls}");
    program.interrupt();
    assert_eq!(program.end().status, 0);
    assert!(!desk.credentials().exists());
}

/// Scenario: no credentials, no region, an audience of a cluster, a role that AWS or the gateway does not know, no gateway.
/// Guarantees: the command ends at once and says what is missing and what to do.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_missing_is_said() {
    let world = world(&[]).await;
    let url = world.plain_url();
    let desk = Desk::new();
    let known = variables_of(&role("checkout-machine"));
    let nowhere: Vec<_> = known
        .iter()
        .filter(|(name, _)| *name != "AWS_REGION")
        .cloned()
        .collect();
    let empty = vec![("AWS_REGION", AWS_REGION.to_owned())];
    let at = ["--gateway", url.as_str()];
    for (variables, audience, more, status, words) in [
        (
            &empty,
            AWS_AUDIENCE,
            &at[..],
            1,
            ["no credentials of AWS", "AWS_PROFILE"],
        ),
        (&nowhere, AWS_AUDIENCE, &at, 1, ["no region", "--region"]),
        (
            &known,
            "prod",
            &at,
            1,
            ["the audience has a `:`", "lightkeeper:"],
        ),
        (&known, AWS_AUDIENCE, &at, 3, ["401", "`aws:`"]),
        (&known, AWS_AUDIENCE, &[], 1, ["no gateway", "--gateway"]),
    ] {
        let arguments = [
            &[
                "connect",
                "--aws",
                "--audience",
                audience,
                "--listen",
                "127.0.0.1:0",
            ],
            more,
        ]
        .concat();
        let ended = desk.run_with(&arguments, &pairs(variables));
        assert_eq!(ended.status, status, "{ended:?}");
        for word in words {
            assert!(ended.err.contains(word), "{word}: {ended:?}");
        }
    }
    assert_eq!(desk.run(&["connect", "--aws"]).status, 2);
}
