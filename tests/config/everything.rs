//! The file that uses every key. What it refuses to know: what is wrong with other files.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use lightkeeper::accept::{
    AnchorPlace, AssertionHeader, BundlePlace, BundleSettings, CertificateDemand, ClientAuthority,
    ClientCertificates, CorsSettings, ForwardedHeader, ForwardedSettings, FrontSettings,
    HealthSettings, ListenerSettings, Network, Networks, OwnCertificate, Serves, TlsSettings,
};
use lightkeeper::apps::{AppPath, BackendId, Glob};
use lightkeeper::audit::{AuditSettings, Durability, OnFailure, RotationSettings, SealSettings};
use lightkeeper::config::{self, LogFormat, LogSettings};
use lightkeeper::egress::{Egress, Environment, NoProxy, ProxyCredentials, ProxySettings};
use lightkeeper::forward::{
    ClientIdentity, DestinationHeader, DestinationSettings, DestinationUrl, UpstreamSettings,
};
use lightkeeper::identify::{
    AwsSettings, ClaimPath, CliSettings, ClientProofSettings, ClientTokenHash, ClientTokenSettings,
    DpopSettings, IntrospectionSettings, IssuerSettings, KeyAccess, KeySource, LoginSettings,
    PolicyClaims, ProofReplay, StsEndpoints, TokensTaken, WebhookSettings,
};
use lightkeeper::limits::{Limits, QuotaStatus, Rate};
use lightkeeper::profiles::UiBase;
use lightkeeper::secret::SecretRef;
use lightkeeper::state::{AlertFieldSettings, AlertSettings, QuerySettings, Upstreams};
use lightkeeper::stores::{CredentialRef, StoreLogin, StoreSettings, StoredRef};
use lightkeeper::transform::{Compression, IngestSettings, MirrorSettings};
use lightkeeper::vault::{ApiKeys, BackendSecrets, ProjectSecrets, VaultSettings};

fn claim(text: &str) -> ClaimPath {
    ClaimPath::parse(text).unwrap()
}

/// Scenario: a file that uses every key. Guarantees: each value arrives in the room's settings, and every
/// file that matters is watched.
#[test]
fn every_key_arrives_in_the_checked_settings() {
    let (checked, found) = config::parse(
        Path::new("/etc/lk/lightkeeper.yaml"),
        include_str!("everything.yaml"),
    );
    assert_eq!(found, []);
    let checked = checked.unwrap();
    let at = |name: &str| Path::new("/etc/lk").join(name);
    let file = |name: &str| SecretRef::File(at(name));
    let seconds = Duration::from_secs;
    let networks = |texts: &[&str]| {
        Networks::new(
            texts
                .iter()
                .map(|text| Network::parse(text).unwrap())
                .collect(),
        )
    };
    assert_eq!(checked.organization, "acme");
    assert_eq!(checked.policy, at("policies/policy.yaml"));
    assert_eq!(checked.admin.to_string(), "[::1]:9465");
    assert_eq!(checked.threads, 3);
    assert_eq!(
        checked.log,
        LogSettings {
            format: LogFormat::Text,
            level: tracing::Level::WARN
        }
    );
    assert_eq!(
        checked.listeners,
        [ListenerSettings {
            name: "gateway".into(),
            address: "[::1]:8443".parse().unwrap(),
            serves: Serves::ALL,
            tls: Some(TlsSettings {
                own: OwnCertificate::Files {
                    certificate: at("a.pem"),
                    key: at("a.key"),
                },
                only_tls13: true,
                clients: Some(ClientCertificates {
                    authorities: vec![
                        ClientAuthority {
                            name: "prod".into(),
                            anchors: AnchorPlace::Pem(at("ca.pem")),
                            trust_domains: vec!["prod.acme.example".into()],
                            dns: vec![Glob::parse("*.svc.acme.example", '.').unwrap()],
                            crl: Some(at("a.crl")),
                            short: false,
                        },
                        ClientAuthority {
                            name: "mesh".into(),
                            anchors: AnchorPlace::Bundle(BundleSettings {
                                place: BundlePlace::Url("https://spire.example/bundle".into()),
                                ca: Some(at("ca.pem")),
                                egress: Egress::Direct,
                            }),
                            trust_domains: vec!["mesh.example".into()],
                            dns: Vec::new(),
                            crl: None,
                            short: false,
                        }
                    ],
                    demand: CertificateDemand::Required,
                }),
            }),
            public_url: Some("https://telemetry.example".into()),
            front: FrontSettings {
                health: HealthSettings {
                    path: Some("/healthz".into()),
                    grpc: true
                },
                proxy_protocol: networks(&["10.0.0.0/8"]),
                forwarded: Some(ForwardedSettings {
                    from: networks(&["192.0.2.7", "2001:db8::/32"]),
                    header: ForwardedHeader::Forwarded,
                }),
                cors: Some(CorsSettings {
                    origins: vec![
                        "https://shop.acme.example".into(),
                        "http://localhost:3000".into()
                    ],
                    max_age: seconds(300),
                }),
            },
        }]
    );
    assert_eq!(
        checked.issuers,
        [IssuerSettings {
            name: "okta".into(),
            issuer: "https://acme.okta.com/oauth2/default".into(),
            audiences: vec!["lightkeeper".into(), "other".into()],
            algorithms: vec!["EdDSA".into()],
            keys: KeySource::Url("https://acme.okta.com/keys?a=b".into()),
            ca: Some(at("idp.pem")),
            key_access: KeyAccess {
                token: Some(SecretRef::File(at("keys-token"))),
                ca: Some(at("keys.pem"))
            },
            egress: Egress::Direct,
            subject_claims: vec![claim("email"), claim("/user/id")],
            groups_claim: claim("/realm_access/roles"),
            audience_claim: claim("client_id"),
            types: vec!["at+jwt".into()],
            header: AssertionHeader::parse("x-goog-iap-jwt-assertion").ok(),
            tokens: TokensTaken::Any,
            login_clients: vec!["web".into(), "cli".into()],
            accepts_unverified_email: true,
            dpop_required: true,
            leeway: seconds(300),
            max_lifetime: seconds(12 * 3600),
            stale_keys: seconds(48 * 3600),
            refresh: seconds(2 * 3600),
            introspection: Some(IntrospectionSettings {
                url: "https://acme.okta.com/introspect?a=b".to_owned(),
                client_id: "gateway".to_owned(),
                proof: ClientProofSettings::Key {
                    file: at("client.key"),
                    algorithm: Some("PS256".to_owned()),
                    key_id: Some("k1".to_owned()),
                },
                always: true,
                prefix: Some("ory_at_".to_owned()),
                signed: true,
                cache: seconds(30),
                calls_per_second: 7,
            }),
            cluster: None,
            attributes: Vec::new(),
        }]
    );
    assert_eq!(
        checked.dpop,
        DpopSettings {
            replay: ProofReplay::Pinned,
            nonce_optional: false,
            keys: checked.login.as_ref().unwrap().keys.clone(),
        }
    );
    assert_eq!(
        checked.aws,
        [AwsSettings {
            name: "cloud".into(),
            audience: "lightkeeper:gateway.acme.example".into(),
            accounts: vec!["123456789012".into(), "210987654321".into()],
            partition: "aws".into(),
            regions: vec!["eu-west-1".into(), "us-east-1".into()],
            endpoints: StsEndpoints {
                global: true,
                fips: true,
                dual_stack: true
            },
            max_age: seconds(600),
            cache: seconds(60),
            connect: Some(("2001:db8::1".into(), 8443)),
            ca: Some(at("aws.pem")),
            egress: Egress::Direct,
            calls_per_second: 5,
            concurrent_calls: 2,
            attributes: Vec::new(),
        }]
    );
    assert_eq!(checked.revocations, Some(at("revocations.yaml")));
    let [signals] = checked.transmitters.as_slice() else {
        panic!("one transmitter")
    };
    assert_eq!(signals.issuers, ["okta"]);
    assert_eq!(signals.token, Some(file("push")));
    let source = &signals.source;
    assert_eq!(
        (source.name.as_str(), source.issuer.as_str(), &source.keys),
        (
            "signals",
            "https://signals.example/",
            &KeySource::Url("https://signals.example/keys".into())
        )
    );
    assert_eq!(source.audiences, ["https://gateway.example"]);
    assert_eq!(
        (&source.ca, &source.egress),
        (&Some(at("idp.pem")), &Egress::Direct)
    );
    let token = |name: &str, last: &str, until_unix_seconds| ClientTokenSettings {
        name: name.into(),
        hash: ClientTokenHash::parse(&format!(
            "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015{last}"
        ))
        .unwrap(),
        binding: "checkout-pods".into(),
        until_unix_seconds,
    };
    // 2027-01-01T00:00:00Z
    let until = Some(1_798_761_600);
    assert_eq!(
        checked.client_tokens(),
        [token("billing-php", "ad", until), token("1", "ae", None)]
    );
    assert_eq!(checked.client_tokens()[0].hash, ClientTokenHash::of(b"abc"));
    let proxy = |host: &str, port, credentials| {
        Arc::new(ProxySettings {
            host: host.into(),
            port,
            credentials,
        })
    };
    let common = proxy("proxy.example", 3128, None);
    let query = UpstreamSettings {
        tls: true,
        host: "api.example".into(),
        port: 443,
        base_path: String::new(),
        ca: None,
        client: None,
        proxy: Some(common.clone()),
        connect_timeout: seconds(5),
        read_timeout: seconds(60),
        write_timeout: seconds(30),
        idle_timeout: seconds(60),
    };
    let ingest = UpstreamSettings {
        tls: true,
        host: "ingest.example".into(),
        port: 8443,
        base_path: "/prefix".into(),
        ca: Some(at("ca.pem")),
        client: Some(ClientIdentity::Files {
            certificate: at("b.pem"),
            key: at("b.key"),
        }),
        proxy: Some(proxy(
            "2001:db8::1",
            8080,
            Some(ProxyCredentials::Reference(file("proxy"))),
        )),
        connect_timeout: seconds(1),
        read_timeout: seconds(2),
        write_timeout: seconds(3),
        idle_timeout: seconds(4),
    };
    let collector = UpstreamSettings {
        tls: false,
        host: "127.0.0.1".into(),
        port: 8360,
        read_timeout: seconds(5),
        ..query.clone()
    };
    let logs = UpstreamSettings {
        host: "logs.example".into(),
        read_timeout: seconds(30),
        ..query.clone()
    };
    assert_eq!(checked.profile.name, "lightstep");
    let [backend] = checked.backends.as_slice() else {
        panic!("one backend")
    };
    assert_eq!(&*backend.name, "default");
    assert_eq!(backend.profile.name, "lightstep");
    assert_eq!(
        backend.upstreams,
        Upstreams {
            ingest: Some(ingest),
            grpc: None,
            query: Some(query),
            collector: Some(collector),
            logs: Some(logs)
        }
    );
    assert_eq!(
        checked.ingest,
        IngestSettings {
            stamp: false,
            compression: Compression::Zstd,
            pass_commands: true,
            parallel_parts: 3,
            remember: Duration::ZERO,
            mirror: MirrorSettings {
                buffer_bytes: 1 << 20,
                parallel: 2,
                patience: seconds(2),
            },
        }
    );
    assert_eq!(
        checked.login,
        Some(LoginSettings {
            issuer: "okta".into(),
            client_id: "web".into(),
            client_secret: Some(file("okta")),
            scopes: vec!["openid".into(), "groups".into()],
            groups_from_userinfo: true,
            lifetime: seconds(7200),
            idle: seconds(600),
            keys: vec![file("session-key"), SecretRef::Env("SESSION_KEY".into())],
            policy_claims: PolicyClaims::default(),
            cli: Some(CliSettings {
                client_id: "cli".into(),
                scopes: vec!["openid".into()],
                audience: Some("other".into()),
            }),
        })
    );
    let ui = UiBase::At("https://ui.example".to_owned());
    assert_eq!(
        checked.query,
        QuerySettings {
            coalesce: false,
            cache: Some(seconds(5)),
            rates: vec![("timeseries".into(), Rate::parse("300/h").unwrap())],
            parallel_projects: 4,
            deadline: seconds(3),
            ui,
        }
    );
    let here = CredentialRef::Here;
    let keys = |admin| ApiKeys {
        read: Some(here(file("r"))),
        write: Some(here(file("w"))),
        admin: Some(here(admin)),
    };
    let stored = CredentialRef::Stored(StoredRef {
        path: "team/shop".into(),
        field: "token".into(),
        version: Some(3),
    });
    let shop = BackendSecrets {
        access_token: vec![
            here(file("shop")),
            here(SecretRef::Env("SHOP".into())),
            stored,
        ],
        api_key: keys(file("a")),
    };
    let shop: ProjectSecrets = [(BackendId::default(), shop)].into();
    assert_eq!(
        checked.vault,
        VaultSettings {
            projects: [("shop".to_owned(), shop)].into(),
            api_keys: keys(SecretRef::Env("ADMIN".into())),
            store: Some(StoreSettings {
                url: "https://vault.example:8200".into(),
                namespace: Some("ns".into()),
                mount: "kv".into(),
                login: StoreLogin::AppRole {
                    mount: "roles".into(),
                    role_id: file("role"),
                    secret_id: file("secret-id"),
                    wrapped: true,
                },
                ca: Some(at("vault-ca.pem")),
                egress: Egress::Direct,
                every: seconds(30),
                stale: seconds(7200),
                probe: false,
            }),
        }
    );
    assert_eq!(
        checked.webhooks(),
        [
            WebhookSettings {
                app: AppPath::parse("shop/checkout").unwrap(),
                secrets: vec![file("hook"), SecretRef::Env("HOOK".into())],
            },
            WebhookSettings {
                app: AppPath::root(),
                secrets: vec![SecretRef::Env("ROOT".into())]
            },
        ]
    );
    let header = DestinationHeader {
        name: http::HeaderName::from_static("x-key"),
        scheme: Some("Token".into()),
        secret: file("oncall"),
    };
    let oncall = DestinationSettings {
        name: "oncall".into(),
        url: DestinationUrl::Written("https://hooks.example/a?b=c".into()),
        ca: Some(at("ca.pem")),
        header: Some(header),
        egress: Egress::Through {
            proxy: common,
            no_proxy: NoProxy::parse(".cluster.local 10.0.0.0/8"),
        },
    };
    let environment = Egress::Environment {
        environment: Environment::empty(),
        no_proxy: NoProxy::default(),
    };
    let chat = DestinationUrl::From(file("chat"));
    let pointer = |text: &str| Some(text.to_owned());
    assert_eq!(
        checked.alerts,
        AlertSettings {
            destinations: vec![
                oncall,
                DestinationSettings {
                    name: "chat".into(),
                    url: chat,
                    ca: None,
                    header: None,
                    egress: environment
                },
            ],
            replay_window: seconds(300),
            fields: AlertFieldSettings {
                id: pointer("/a"),
                name: pointer("/b"),
                state: pointer("/c/0"),
                time: pointer("/d"),
            },
        }
    );
    assert_eq!(
        checked.audit,
        AuditSettings {
            file: Some(at("audit.jsonl")),
            on_failure: OnFailure::Continue,
            queue_records: 8,
            queue_bytes: 1 << 20,
            seal: Some(SealSettings {
                origin: "trail/gw-1".into(),
                keys: vec![
                    SecretRef::File(at("audit.key")),
                    SecretRef::Env("AUDIT_KEY".into())
                ],
                checkpoints: at("audit.checkpoints"),
                records: 100,
                interval: seconds(5),
            }),
            durability: Durability::EveryRecord,
            rotation: Some(RotationSettings {
                bytes: Some(1 << 30),
                interval: Some(seconds(24 * 3600)),
            }),
            sinks: Vec::new(),
        }
    );
    assert_eq!(
        checked.limits,
        Limits {
            body_bytes: 1 << 20,
            decompressed_body_bytes: 2 << 20,
            header_bytes: 32 << 10,
            header_count: 50,
            token_bytes: 8 << 10,
            buffered_total_bytes: 32 << 20,
            attributes_per_resource: 77,
            response_bytes: 4 << 20,
            connections: 100,
            connections_per_address: 10,
            streams: 5,
            handshake_timeout: seconds(1),
            header_timeout: seconds(2),
            idle_timeout: seconds(3),
            body_timeout: seconds(4),
            body_rate_bytes_per_second: 512,
            body_grace: Duration::from_millis(1500),
            connection_age: seconds(300),
            drain_timeout: seconds(6),
            drain_delay: Duration::from_millis(250),
            quota_status: QuotaStatus::ServiceUnavailable,
            penalty: false,
        }
    );
    let watched = [
        "lightkeeper.yaml",
        "a.pem",
        "a.key",
        "ca.pem",
        "a.crl",
        "client.key",
        "keys-token",
        "keys.pem",
        "idp.pem",
        "aws.pem",
        "backend.yaml",
        "b.pem",
        "b.key",
        "proxy",
        "role",
        "secret-id",
        "vault-ca.pem",
        "r",
        "w",
        "shop",
        "a",
        "session-key",
        "okta",
        "hook",
        "oncall",
        "chat",
        "revocations.yaml",
        "push",
        "policies/policy.yaml",
        "audit.key",
    ];
    assert_eq!(checked.files, watched.map(at));
}
