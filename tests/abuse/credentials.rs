//! Scenario: forged, expired, foreign, doubled and misplaced credentials, over HTTP/1.1, HTTP/2 and gRPC.
//! Guarantees: no caller gets in, all bad credentials look alike from outside, and so do all denials.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use testkit::{Algorithm, Issuer, Sample};

use super::ground::{self, Ground};
use super::wire;

/// Tokens that must not be believed, by what is wrong with them.
fn bad_tokens(issuer: &Issuer, foreign: &Issuer) -> Vec<(String, String)> {
    use Algorithm::{EdDsa, Es256, Hs256, Ps256, Rs256, Unsigned};
    let good = || issuer.claims_of("checkout-collector");
    let header = |changes: Value| issuer.mint_with(changes, good(), Rs256);
    let mut tokens: Vec<(&str, String)> = vec![
        ("expired", issuer.mint(good().expires_in(-3600), Rs256)),
        ("expired long ago", issuer.mint(good().set("exp", 1), Rs256)),
        ("expires at zero", issuer.mint(good().set("exp", 0), Rs256)),
        ("expires before time", issuer.mint(good().set("exp", -1), Rs256)),
        ("never expires", issuer.mint(good().without("exp"), Rs256)),
        ("expires as text", issuer.mint(good().set("exp", "9999999999"), Rs256)),
        ("expires as null", issuer.mint(good().set("exp", Value::Null), Rs256)),
        ("expires as list", issuer.mint(good().set("exp", json!([9_999_999_999_i64])), Rs256)),
        ("not yet valid", issuer.mint(good().not_before_in(3600), Rs256)),
        ("not before as text", issuer.mint(good().set("nbf", "0"), Rs256)),
        ("issued in the future", issuer.mint(good().issued_in(3600), Rs256)),
        ("other audience", issuer.mint(good().audience("somebody-else"), Rs256)),
        ("audience in other case", issuer.mint(good().audience("Lightkeeper"), Rs256)),
        ("audience with a blank", issuer.mint(good().audience("lightkeeper "), Rs256)),
        ("no audience", issuer.mint(good().without("aud"), Rs256)),
        ("empty audiences", issuer.mint(good().audiences(&[]), Rs256)),
        ("audience as number", issuer.mint(good().set("aud", 1), Rs256)),
        ("audience as object", issuer.mint(good().set("aud", json!({"lightkeeper": true})), Rs256)),
        ("no issuer", issuer.mint(good().without("iss"), Rs256)),
        ("issuer as list", issuer.mint(good().set("iss", json!([issuer.url()])), Rs256)),
        ("unknown issuer", issuer.mint(good().issuer("https://evil.example"), Rs256)),
        ("issuer with a slash", issuer.mint(good().issuer(&format!("{}/", issuer.url())), Rs256)),
        ("issuer in capitals", issuer.mint(good().issuer(&issuer.url().to_uppercase()), Rs256)),
        ("no subject", issuer.mint(good().without("sub"), Rs256)),
        ("subject as number", issuer.mint(good().set("sub", 1), Rs256)),
        ("subject empty", issuer.mint(good().subject(""), Rs256)),
        ("foreign issuer", foreign.token("checkout-collector")),
        ("foreign key, our issuer", foreign.mint(foreign.claims_of("checkout-collector").issuer(issuer.url()), Rs256)),
        ("unsigned", issuer.mint(good(), Unsigned)),
        ("None", header(json!({"alg": "None"}))),
        ("nOnE", header(json!({"alg": "nOnE"}))),
        ("HMAC with the public key", issuer.mint(good(), Hs256)),
        ("HMAC with the RSA key's id", issuer.mint_with(json!({"kid": issuer.kid(Rs256)}), good(), Hs256)),
        ("HMAC called RS256", issuer.mint_with(json!({"alg": "RS256", "kid": issuer.kid(Rs256)}), good(), Hs256)),
        ("key not published", issuer.mint(good(), EdDsa)),
        ("PS256 with the RS256 key", issuer.mint_with(json!({"kid": issuer.kid(Rs256)}), good(), Ps256)),
        ("ES256 with the RS256 key", issuer.mint_with(json!({"kid": issuer.kid(Rs256)}), good(), Es256)),
        ("RS256 called ES256", header(json!({"alg": "ES256", "kid": issuer.kid(Es256)}))),
        ("alg missing", header(json!({"alg": null}))),
        ("alg as list", header(json!({"alg": ["RS256"]}))),
        ("alg in lower case", header(json!({"alg": "rs256"}))),
        ("alg with a blank", header(json!({"alg": "RS256 "}))),
        ("kid with a path", header(json!({"kid": "../../../../dev/null"}))),
        ("kid with a query", header(json!({"kid": "x' UNION SELECT 'k'--"}))),
        ("kid with a link", header(json!({"kid": "http://127.0.0.1:1/key"}))),
        ("kid as number", header(json!({"kid": 1}))),
        ("kid as list", header(json!({"kid": ["rs256-1"]}))),
        ("kid empty", header(json!({"kid": ""}))),
        ("kid unknown", header(json!({"kid": "rs256-99"}))),
        ("kid huge", header(json!({"kid": "k".repeat(4000)}))),
        ("critical extension", header(json!({"crit": ["exp"], "exp": 1}))),
        ("critical, empty", header(json!({"crit": []}))),
        ("payload not encoded", header(json!({"crit": ["b64"], "b64": false}))),
        ("typ of a logout token", header(json!({"typ": "logout+jwt"}))),
        ("typ of a DPoP proof", header(json!({"typ": "dpop+jwt"}))),
        ("compressed", header(json!({"zip": "DEF"}))),
        ("encrypted", header(json!({"enc": "A256GCM", "alg": "dir"}))),
        ("bound to a DPoP key", issuer.mint(good().set("cnf", json!({"jkt": "x"})), Rs256)),
        ("bound to a certificate", issuer.mint(good().set("cnf", json!({"x5t#S256": "x"})), Rs256)),
        ("bound to nobody knows what", issuer.mint(good().set("cnf", json!({"osc": "x"})), Rs256)),
        ("bound to a text", issuer.mint(good().set("cnf", "x"), Rs256)),
        ("a logout token", issuer.mint(good().set("events", json!({"http://schemas.openid.net/event/backchannel-logout": {}})), Rs256)),
        ("an ID token", issuer.mint(good().set("nonce", "n").set("at_hash", "h"), Rs256)),
        ("issuer twice", issuer.mint_raw(
            &json!({"alg": "RS256", "kid": issuer.kid(Rs256)}).to_string(),
            &format!(r#"{{"iss":"https://evil","iss":"{}","sub":"system:serviceaccount:checkout:collector","aud":"lightkeeper","exp":9999999999,"iat":1}}"#, issuer.url()),
            Rs256,
        )),
        ("alg twice", issuer.mint_raw(
            &format!(r#"{{"alg":"none","alg":"RS256","kid":"{}"}}"#, issuer.kid(Rs256)),
            &Value::from(good()).to_string(),
            Rs256,
        )),
        ("no JSON", issuer.mint_raw("{", "}", Rs256)),
        ("payload no object", issuer.mint_raw(&json!({"alg": "RS256", "kid": issuer.kid(Rs256)}).to_string(), "[]", Rs256)),
        ("deep JSON", issuer.mint_raw(&json!({"alg": "RS256", "kid": issuer.kid(Rs256)}).to_string(), &format!("{}{}", "[".repeat(5000), "]".repeat(5000)), Rs256)),
        ("oversized", issuer.mint(good().set("x", "y".repeat(20_000)), Rs256)),
        ("not a token", "x".to_owned()),
        ("nothing", String::new()),
        ("dots", "...".to_owned()),
        ("many dots", ".".repeat(10_000)),
        ("two parts", "a.b".to_owned()),
        ("four parts", "a.b.c.d".to_owned()),
        ("five parts", "e.e.e.e.e".to_owned()),
        ("JSON serialization", r#"{"payload":"","signatures":[]}"#.replace(',', ";")),
        ("a Lightstep token", "ingest-token-of-checkout-prod-5f1d".to_owned()),
        ("an API key", "api-key-admin-19b7".to_owned()),
    ];
    let fine = issuer.token("checkout-collector");
    let parts: Vec<&str> = fine.split('.').collect();
    let mut bent = |what, token: String| tokens.push((what, token));
    bent(
        "signature cut",
        fine.get(..fine.len() - 4).unwrap().to_owned(),
    );
    bent("signature gone", format!("{}.{}.", parts[0], parts[1]));
    bent(
        "signature of zeros",
        format!("{}.{}.{}", parts[0], parts[1], "A".repeat(342)),
    );
    bent(
        "payload exchanged",
        format!(
            "{}.{}.{}",
            parts[0],
            issuer.token("sam").split('.').nth(1).unwrap(),
            parts[2]
        ),
    );
    bent(
        "header exchanged",
        format!("eyJhbGciOiJub25lIn0.{}.{}", parts[1], parts[2]),
    );
    bent(
        "padding",
        format!("{}=.{}=.{}=", parts[0], parts[1], parts[2]),
    );
    bent("a dot behind", format!("{fine}."));
    bent("a dot before", format!(".{fine}"));
    bent("a part more", format!("{fine}.x"));
    bent("percent-encoded", fine.replace('.', "%2E"));
    bent("quoted", format!("\"{fine}\""));
    bent("twice", format!("{fine} {fine}"));
    bent("scheme twice", format!("Bearer {fine}"));
    bent("something behind", format!("{fine} x"));
    bent("a tab behind it", format!("{fine}\tx"));
    tokens
        .into_iter()
        .map(|(what, token)| (what.to_owned(), token))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_tokens_all_look_alike() {
    let mut ground = Ground::new().await;
    let foreign = Issuer::start().await.unwrap();
    let mut faults = Vec::new();
    let mut looks = BTreeSet::new();
    let tokens = bad_tokens(&ground.world.issuer, &foreign);
    for (what, token) in &tokens {
        let sent = format!(
            "POST /v1/traces HTTP/1.1\r\nHost: gw\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\n\
             Connection: close\r\nContent-Length: 2\r\n\r\n{{}}"
        );
        let talk = wire::talk(ground.plain(), sent.as_bytes()).await;
        match wire::replies(&talk.bytes, &[])
            .unwrap_or_default()
            .as_slice()
        {
            [reply] if reply.status == 401 && talk.closed => _ = looks.insert(reply.comparable()),
            replies => faults.push(format!("{what}: {replies:?}")),
        }
        let records = ground.calls(1).await;
        let reason = records[0]["reason"].as_str().unwrap_or_default();
        if !(reason.starts_with("token_") || reason.starts_with("key_"))
            || !records[0]["identity"].is_null()
        {
            faults.push(format!("{what}: {}", records[0]));
        }
        if token.len() > 20 && records[0].to_string().contains(token.as_str()) {
            faults.push(format!("{what}: the token is in the record"));
        }
    }
    if looks.len() != 1 {
        faults.push(format!("401s differ: {looks:?}"));
    }
    // The same over gRPC, where only some can be written into a header.
    let mut looks = BTreeSet::new();
    for (what, token) in tokens
        .iter()
        .filter(|(_, token)| token.len() < 10_000 && !token.contains('\t') && !token.is_empty())
    {
        let call = ground
            .world
            .plain_caller()
            .bearer(token)
            .export_grpc(&Sample::traces("checkout", 1))
            .await;
        match call {
            Ok(answer) if answer.status == 200 && answer.grpc_status() == Some(16) => {
                let mut headers: Vec<_> = answer
                    .headers
                    .iter()
                    .map(|(name, value)| (name.to_string(), value.clone()))
                    .collect();
                headers.retain(|(name, _)| name != "lightkeeper-request-id" && name != "date");
                looks.insert(format!("{headers:?} {:?}", answer.trailers));
            }
            other => faults.push(format!("{what} over gRPC: {other:?}")),
        }
        ground.calls(1).await;
    }
    if looks.len() != 1 {
        faults.push(format!("gRPC refusals differ: {looks:?}"));
    }
    ground.nothing_upstream("bad tokens");
    ground.alive().await;
    ground::none(&faults);
}

/// Header lines after `Host`, the status and the record's reason.
const CARRIERS: &[(&str, u16, &str)] = &[
    ("", 401, "no_credential"),
    ("Authorization:\r\n", 401, "token_malformed"),
    ("Authorization: Bearer\r\n", 401, "token_malformed"),
    ("Authorization: Bearer \r\n", 401, "token_malformed"),
    ("Authorization: Bearer\t{T}\r\n", 401, "token_malformed"),
    ("Authorization: Bearer:{T}\r\n", 401, "token_malformed"),
    ("Authorization: Bearer={T}\r\n", 401, "token_malformed"),
    ("Authorization: Basic eDp5\r\n", 401, "token_malformed"),
    ("Authorization: Basic {T}\r\n", 401, "token_malformed"),
    (
        "Authorization: Digest username=\"x\"\r\n",
        401,
        "token_malformed",
    ),
    (
        "Authorization: DPoP {T}\r\nDPoP: x\r\n",
        401,
        "token_unbound",
    ),
    ("Authorization: Negotiate {T}\r\n", 401, "token_malformed"),
    ("Authorization: Token {T}\r\n", 401, "token_malformed"),
    ("Authorization: lightstep {T}\r\n", 401, "token_malformed"),
    (
        "Authorization: AWS4-HMAC-SHA256 Credential=x\r\n",
        401,
        "token_malformed",
    ),
    (
        "Authorization: Bearer {T},\r\n",
        400,
        "conflicting_credentials",
    ),
    (
        "Authorization: Bearer {T}, Bearer {T}\r\n",
        400,
        "conflicting_credentials",
    ),
    (
        "Authorization: Bearer {T}, Basic eDp5\r\n",
        400,
        "conflicting_credentials",
    ),
    (
        "Authorization: Basic eDp5, Bearer {T}\r\n",
        400,
        "conflicting_credentials",
    ),
    (
        "Authorization: Bearer {T}\r\nAuthorization: Bearer {A}\r\n",
        400,
        "conflicting_credentials",
    ),
    (
        "Authorization: Bearer {T}\r\nAuthorization: {T}\r\n",
        400,
        "conflicting_credentials",
    ),
    (
        "Authorization: Bearer lk_x\r\nAuthorization: Bearer lk_x\r\n",
        401,
        "client_token_unknown",
    ),
    (
        "Authorization: Bearer {T}, Bearer {T}\r\nAuthorization: Bearer {T}, Bearer {T}\r\n",
        400,
        "conflicting_credentials",
    ),
    (
        "Authorization: Bearer {T}\r\nauthorization: Basic eDp5\r\n",
        400,
        "conflicting_credentials",
    ),
    (
        "Authorization:\r\nAuthorization: Bearer {T}\r\n",
        400,
        "conflicting_credentials",
    ),
    (
        "Authorization: Bearer {T}\r\nlightstep-access-token: {A}\r\n",
        400,
        "conflicting_credentials",
    ),
    (
        "Authorization: Bearer x\r\nlightstep-access-token: {T}\r\n",
        400,
        "conflicting_credentials",
    ),
    (
        "Authorization: Bearer {T}\r\nlightstep-access-token: lk_x\r\n",
        400,
        "conflicting_credentials",
    ),
    (
        "Authorization: Bearer lk_x\r\nlightstep-access-token: {T}\r\n",
        400,
        "conflicting_credentials",
    ),
    (
        "Authorization: Bearer lk_x\r\nlightstep-access-token: lk_y\r\n",
        400,
        "conflicting_credentials",
    ),
    (
        "Authorization: Bearer lk_x\r\nlightstep-access-token: lk_x\r\n",
        401,
        "client_token_unknown",
    ),
    (
        "Authorization: Bearer lk_x\r\n",
        401,
        "client_token_unknown",
    ),
    ("Authorization: lk_x\r\n", 401, "client_token_unknown"),
    ("Authorization: Token lk_x\r\n", 401, "token_malformed"),
    ("Authorization: Bearer LK_x\r\n", 401, "token_malformed"),
    (
        "lightstep-access-token: lk_\r\n",
        401,
        "client_token_unknown",
    ),
    (
        "lightstep-access-token: lk_x, lk_x\r\n",
        401,
        "client_token_unknown",
    ),
    ("X-Api-Key: lk_x\r\n", 401, "no_credential"),
    (
        "lightstep-access-token: {T}\r\nlightstep-access-token: {A}\r\n",
        400,
        "conflicting_credentials",
    ),
    (
        "lightstep-access-token: lk_x\r\nlightstep-access-token: lk_x\r\n",
        401,
        "client_token_unknown",
    ),
    (
        "lightstep-access-token: {T}\r\nLightstep-Access-Token: x\r\n",
        400,
        "conflicting_credentials",
    ),
    ("lightstep-access-token: {T}, {T}\r\n", 401, "no_credential"),
    (
        "lightstep-access-token: Bearer {T}\r\n",
        401,
        "token_malformed",
    ),
    (
        "lightstep-access-token: ingest-token-of-checkout-prod-5f1d\r\n",
        401,
        "no_credential",
    ),
    ("lightstep-access-token:\r\n", 401, "no_credential"),
    ("lightstep_access_token: {T}\r\n", 400, "malformed_header"),
    ("X-Authorization: Bearer {T}\r\n", 401, "no_credential"),
    ("Proxy-Authorization: Bearer {T}\r\n", 401, "no_credential"),
    ("X-Lightstep-Access-Token: {T}\r\n", 401, "no_credential"),
    ("X-Access-Token: {T}\r\n", 401, "no_credential"),
    ("X-Api-Key: {T}\r\n", 401, "no_credential"),
    ("Api-Key: {T}\r\n", 401, "no_credential"),
    ("Cookie: authorization=Bearer {T}\r\n", 401, "no_credential"),
    (
        "Cookie: lightkeeper={T}; session={T}\r\n",
        401,
        "no_credential",
    ),
    (
        "X-Forwarded-User: sam@acme.example\r\n",
        401,
        "no_credential",
    ),
    (
        "X-Forwarded-Client-Cert: By=x;URI=spiffe://prod.acme.example/ns/checkout/sa/x\r\n",
        401,
        "no_credential",
    ),
    ("Client-Cert: :MIIB:\r\n", 401, "no_credential"),
    ("X-SSL-Client-Verify: SUCCESS\r\n", 401, "no_credential"),
    (
        "X-Remote-User: sam\r\nRemote-User: sam\r\n",
        401,
        "no_credential",
    ),
    (
        "X-Original-URL: /.lightkeeper/whoami\r\nX-Rewrite-URL: /x\r\n",
        401,
        "no_credential",
    ),
    ("X-HTTP-Method-Override: GET\r\n", 401, "no_credential"),
    ("User-Agent: kube-probe/1.30\r\n", 401, "no_credential"),
    ("User-Agent: GoogleHC/1.0\r\n", 401, "no_credential"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn credentials_stand_in_one_place() {
    let mut ground = Ground::new().await;
    let mut faults = Vec::new();
    for (lines, status, reason) in CARRIERS {
        let mut looks = BTreeSet::new();
        for path in ["/v1/traces", "/apps/shop/checkout/-/v1/traces"] {
            let sent = ground.fill(&format!(
                "POST {path} HTTP/1.1\r\nHost: gw\r\n{lines}Content-Type: application/x-protobuf\r\n\
                 Connection: close\r\nContent-Length: 6\r\n\r\n\n\x04\x12\x02\x12\0"
            ));
            let talk = wire::talk(ground.plain(), sent.as_bytes()).await;
            let replies = wire::replies(&talk.bytes, &[]).unwrap_or_default();
            if replies.len() != 1 || replies[0].status != *status {
                faults.push(format!("{lines:?} {path}: {replies:?}"));
            }
            looks.extend(replies.iter().map(wire::Reply::comparable));
            let records = ground.calls(1).await;
            if records[0]["reason"] != *reason || records.len() != 1 {
                faults.push(format!("{lines:?}: {records:?}, not {reason}"));
            }
        }
        if looks.len() != 1 {
            faults.push(format!("{lines:?}: {looks:?}"));
        }
    }
    for query in [
        "access_token={T}",
        "token={T}",
        "Access_Token={T}",
        "access%5Ftoken={T}",
        "a=b&access_token=x",
    ] {
        let sent = ground.fill(&format!(
            "GET /.lightkeeper/whoami?{query} HTTP/1.1\r\n{{H}}Connection: close\r\n\r\n"
        ));
        let talk = wire::talk(ground.plain(), sent.as_bytes()).await;
        let replies = wire::replies(&talk.bytes, &[]).unwrap_or_default();
        if replies.first().map(|reply| reply.status) != Some(400) {
            faults.push(format!("{query}: {replies:?}"));
        }
        let records = ground.calls(1).await;
        if records[0]["reason"] != "conflicting_credentials"
            || records[0].to_string().contains(&ground.exporter)
        {
            faults.push(format!("{query}: {records:?}"));
        }
    }
    ground.nothing_upstream("carriers");
    ground.alive().await;
    ground::none(&faults);
}

/// What is denied must not tell whether it exists.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn denials_all_look_alike() {
    let mut ground = Ground::new().await;
    let mut faults = Vec::new();
    let families: &[(&str, &[&str])] = &[
        (
            "GET",
            &[
                "/public/v0.2/acme/projects/platform-prod/streams",
                "/public/v0.2/acme/projects/no-such-project/streams",
                "/public/v0.2/acme/projects/Checkout-Prod/streams",
                "/public/v0.2/acme/projects/checkout-prod%20x/streams",
                "/public/v0.2/evil/projects/checkout-prod/streams",
                "/public/v0.2/ACME/projects/checkout-prod/streams",
                "/public/v0.2/evil/projects/no-such-project/streams",
                "/public/v0.2/acme/projects/platform-prod/streams/1",
                "/public/v0.2/acme/projects/platform-prod/access_tokens",
                "/public/v0.2/acme/projects/checkout-prod/access_tokens",
                "/public/v0.2/evil/projects",
            ],
        ),
        (
            "POST",
            &[
                "/apps/platform/-/v1/traces",
                "/apps/no-such-app/-/v1/traces",
                "/apps/shop/-/v1/traces",
                "/apps/shop/no-such-app/-/v1/traces",
                "/apps/-/v1/traces",
                "/apps/shop/payments/-/v1/traces",
                "/apps/shop/payments/-/traces/otlp/v0.9",
                "/apps/platform/-/api/v2/otel/trace",
            ],
        ),
        (
            "GET",
            &[
                "/apps/platform",
                "/apps/no-such-app",
                "/apps/shop/no-such-app",
            ],
        ),
    ];
    for (method, paths) in families {
        let mut looks = BTreeSet::new();
        for path in *paths {
            let token = if *method == "POST" { "{T}" } else { "{A}" };
            let (kind, body) = if *method == "POST" {
                (
                    "Content-Type: application/x-protobuf\r\nContent-Length: 6\r\n",
                    "\n\x04\x12\x02\x12\0",
                )
            } else {
                ("", "")
            };
            let sent = ground.fill(&format!(
                "{method} {path} HTTP/1.1\r\nHost: gw\r\nAuthorization: Bearer {token}\r\n{kind}Connection: close\r\n\r\n{body}"
            ));
            let talk = wire::talk(ground.plain(), sent.as_bytes()).await;
            let replies = wire::replies(&talk.bytes, &[]).unwrap_or_default();
            if replies.first().map(|reply| reply.status) != Some(403) {
                faults.push(format!("{method} {path}: {:?}", replies.first()));
            }
            looks.extend(replies.iter().map(wire::Reply::comparable));
            ground.calls(1).await;
        }
        if looks.len() != 1 {
            faults.push(format!("{paths:?}: {looks:#?}"));
        }
    }
    ground.nothing_upstream("denials");
    ground.alive().await;
    ground::none(&faults);
}
