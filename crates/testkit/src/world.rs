//! One small world: issuer, emulator and a gateway between them, from real files.
//!
//! What it does: writes configuration, policy, secrets and certificates into a folder of its own, and
//! starts everything on loopback. What it refuses to know: what is asked of it. Invariants: the gateway
//! reads its files exactly as `lightkeeper serve` does; the folder goes with the world.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::sigv4::PresignedCall;
use super::sts::AwsCaller;
use super::{
    Emulator, EmulatorOptions, Issuer, IssuerOptions, Receiver, SampleCaller, Sts, emulator,
    write_certificates,
};
use lightkeeper::admin;
use lightkeeper::causes::{chain, lines};
use lightkeeper::cli::{load, prepare_cryptography};
use lightkeeper::clock::Clock;
use lightkeeper::gateway::{Gateway, Loader};
use tempfile::TempDir;

/// The demonstration organization's policy.
pub const POLICY: &str = include_str!("policy.yaml");

/// The demonstration configuration; `{issuer}`, `{ingest}`, `{query}`, `{receiver}`, `{tls}`, `{plain}` and `{more}` are
/// filled in.
pub const CONFIG: &str = include_str!("lightkeeper.yaml");

/// Rates at which nothing waits.
const UNHURRIED: &str = "query: { rates: { general: 10000/s, timeseries: 10000/s, snapshots: 10000/s, \
                         spans_short: 10000/s, spans_long: 10000/s } }";

/// What a world is made of.
#[derive(Clone)]
pub struct WorldPlan {
    pub config: String,
    pub policy: String,
    /// Further top-level lines of the configuration, `limits: { … }` for instance.
    pub more: String,
    /// Further files that the configuration names, in the world's folder.
    pub files: Vec<(String, String)>,
    pub issuer: IssuerOptions,
    pub emulator: EmulatorOptions,
    /// Where plaintext callers connect, so that printed settings can be pasted; port 0 for any.
    pub plain: SocketAddr,
    /// Where TLS callers connect.
    pub tls: SocketAddr,
    /// Where metrics and probes are.
    pub admin: SocketAddr,
    /// Where those listen who are told of alerts.
    pub receiver: SocketAddr,
    pub clock: Clock,
    /// AWS's STS, whose callers of `AWS_ACCOUNT` the gateway knows.
    pub aws: AwsPlan,
    /// Told each time that the files have been read, before anything is made of them.
    pub after_reading: Option<AfterReading>,
}

/// Where a world's STS is.
#[derive(Clone, Debug, Default)]
pub enum AwsPlan {
    /// Nowhere: the gateway knows no callers of AWS.
    #[default]
    Absent,
    /// The world's own.
    Own {
        /// Further members of the gateway's entry, with a comma before each.
        more: String,
    },
    /// Another world's: this one is a replica of its gateway.
    Elsewhere { entry: String },
}

/// Given the world's folder.
pub type AfterReading = Arc<dyn Fn(&Path) + Send + Sync>;

impl WorldPlan {
    /// The same, where roles of AWS may call: those named `checkout-*` report to `shop/checkout`.
    pub fn with_aws(self) -> Self {
        self.with_aws_and("")
    }

    /// The same with further members of the gateway's entry, with a comma before each.
    pub fn with_aws_and(self, more: &str) -> Self {
        let more = more.to_owned();
        self.knowing_aws(AwsPlan::Own { more })
    }

    /// The same with the STS of another world.
    pub fn with_aws_of(self, sts: &Sts) -> Self {
        let entry = aws(sts, "");
        self.knowing_aws(AwsPlan::Elsewhere { entry })
    }

    fn knowing_aws(mut self, plan: AwsPlan) -> Self {
        self.aws = plan;
        self.policy.push_str(&format!(
            "  - {{ name: checkout-lambdas, subjects: [{{ aws: \"arn:aws:iam::{AWS_ACCOUNT}:role/checkout-*\" }}], \
             role: reporter, apps: [shop/checkout] }}\n"
        ));
        self
    }

    /// So many projects more, `fleet-000` and on, whose homes are the apps `fleet/000` and on.
    pub fn with_fleet(mut self, count: usize) -> Self {
        let names: Vec<String> = (0..count).map(|number| format!("{number:03}")).collect();
        let apps: String = names
            .iter()
            .map(|name| format!("      \"{name}\": {{ project: fleet-{name} }}\n"))
            .collect();
        self.policy = self.policy.replacen(
            "roles:\n",
            &format!("  fleet:\n    apps:\n{apps}roles:\n"),
            1,
        );
        let tokens = names.iter().map(|name| {
            format!("    fleet-{name}: {{ access_token: [{{ file: secrets/fleet-{name} }}] }}\n")
        });
        let tokens: String = tokens.collect();
        self.config = self
            .config
            .replacen("  api_keys:\n", &format!("{tokens}  api_keys:\n"), 1);
        self.emulator.projects = names.iter().map(|name| format!("fleet-{name}")).collect();
        self
    }
}

impl Default for WorldPlan {
    fn default() -> Self {
        WorldPlan {
            config: CONFIG.to_owned(),
            policy: POLICY.to_owned(),
            more: String::new(),
            files: Vec::new(),
            issuer: IssuerOptions::default(),
            emulator: EmulatorOptions::default(),
            plain: SocketAddr::from(([127, 0, 0, 1], 0)),
            tls: SocketAddr::from(([127, 0, 0, 1], 0)),
            admin: SocketAddr::from(([127, 0, 0, 1], 0)),
            receiver: SocketAddr::from(([127, 0, 0, 1], 0)),
            clock: Clock::system(),
            aws: AwsPlan::Absent,
            after_reading: None,
        }
    }
}

/// A running world.
pub struct World {
    pub issuer: Issuer,
    pub emulator: Emulator,
    /// Where alerts are passed on to: the destination `oncall`.
    pub receiver: Receiver,
    /// AWS's, where the plan has it.
    pub sts: Option<Sts>,
    pub gateway: Arc<Gateway>,
    pub admin: SocketAddr,
    /// Removed with the world.
    folder: TempDir,
}

impl World {
    /// The demonstration world.
    pub async fn start() -> Result<Self, String> {
        Self::start_with(WorldPlan::default()).await
    }

    pub async fn start_with(plan: WorldPlan) -> Result<Self, String> {
        prepare_cryptography().map_err(|fault| chain(&fault))?;
        // Keys that others on the machine can read are refused.
        let private = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        let folder = tempfile::Builder::new()
            .prefix("lightkeeper-world-")
            .permissions(private)
            .tempdir();
        let folder = folder.map_err(|error| format!("the world's folder: {error}"))?;
        let issuer = Issuer::start_with(plan.issuer).await?;
        let projects = plan.emulator.projects.clone();
        let emulator = Emulator::start_with(plan.emulator).await?;
        let receiver = Receiver::start(plan.receiver).await?;
        let (sts, entry) = match plan.aws {
            AwsPlan::Own { more } => {
                let clock = plan.clock.clone();
                let sts = Sts::start(&[AWS_REGION], move || clock.now().seconds()).await?;
                let entry = aws(&sts, &more);
                (Some(sts), entry)
            }
            AwsPlan::Elsewhere { entry } => (None, entry),
            AwsPlan::Absent => (None, String::new()),
        };
        let config = plan
            .config
            .replace("{issuer}", issuer.url())
            .replace("{ingest}", &emulator.url())
            .replace("{query}", &emulator.url())
            .replace("{receiver}", &receiver.url())
            .replace("{plain}", &plan.plain.to_string())
            .replace("{tls}", &plan.tls.to_string())
            .replace("{admin}", &plan.admin.to_string())
            .replace("{more}", &plan.more);
        // The emulator has no limits unless it is given some, and the backend's own are too tight for a machine's pace.
        let config = match config.lines().any(|line| line.starts_with("query:")) {
            true => config,
            false => format!("{config}\n{UNHURRIED}\n"),
        };
        let config = format!("{config}\n{entry}");
        furnish(folder.path(), &config, &plan.policy, &projects, &plan.clock)
            .map_err(|error| format!("the world's files: {error}"))?;
        for (name, text) in &plan.files {
            std::fs::write(folder.path().join(name), text)
                .map_err(|error| format!("`{name}` of the world: {error}"))?;
        }
        let path = folder.path().join("lightkeeper.yaml");
        let clock = plan.clock;
        let loader: Loader = {
            let (path, clock) = (path.clone(), clock.clone());
            let (folder, after_reading) = (folder.path().to_owned(), plan.after_reading);
            Arc::new(move || {
                let loaded = load(&path, &clock);
                after_reading.iter().for_each(|tell| tell(&folder));
                loaded.plan()
            })
        };
        let first = loader().map_err(|errors| errors.join("\n"))?;
        let gateway = Gateway::start(first, loader, clock)
            .await
            .map_err(|faults| lines(&faults).join("\n"))?;
        let admin = admin::serve(plan.admin, gateway.shared().clone());
        let admin = admin.map_err(|fault| chain(&fault))?;
        // The first calls should not meet a gateway that has no keys yet.
        let limit = std::time::Duration::from_secs(10);
        gateway
            .shared()
            .snapshot
            .load_full()
            .identifier
            .settled(limit)
            .await;
        let world = World {
            issuer,
            emulator,
            receiver,
            sts,
            gateway,
            admin,
            folder,
        };
        for (app, project) in WEBHOOK_APPS {
            let path = format!("/apps/{app}/-/alerts");
            world
                .emulator
                .set_webhook(project, &world.plain_url(), &path, &webhook_secret(app));
        }
        Ok(world)
    }

    /// One more gateway of the same files, with listeners and records of its own (`second.jsonl`).
    pub async fn replica(&self) -> Result<Arc<Gateway>, String> {
        let text = std::fs::read_to_string(self.folder().join("lightkeeper.yaml"));
        let text = text.map_err(|error| format!("the configuration: {error}"))?;
        let path = self.folder().join("second.yaml");
        let text = text.replace("file: audit.jsonl", "file: second.jsonl");
        std::fs::write(&path, text).map_err(|error| format!("its copy: {error}"))?;
        let clock = self.gateway.shared().clock.clone();
        let loader: Loader = {
            let clock = clock.clone();
            Arc::new(move || load(&path, &clock).plan())
        };
        let first = loader().map_err(|errors| errors.join("\n"))?;
        let gateway = Gateway::start(first, loader, clock)
            .await
            .map_err(|faults| lines(&faults).join("\n"))?;
        let snapshot = gateway.shared().snapshot.load_full();
        let limit = std::time::Duration::from_secs(10);
        snapshot.identifier.settled(limit).await;
        Ok(gateway)
    }

    /// The folder with `lightkeeper.yaml`, `policy.yaml`, `secrets/`, `certs/` and `audit.jsonl`.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The address of a listener: `gateway` (TLS, client certificates optional) or `plain`.
    pub fn address(&self, listener: &str) -> Option<SocketAddr> {
        self.gateway
            .addresses()
            .iter()
            .find(|(name, _)| name == listener)
            .map(|(_, address)| *address)
    }

    /// `https://localhost:port` of the TLS listener.
    pub fn url(&self) -> String {
        self.address("gateway").map_or_else(String::new, |address| {
            format!("https://localhost:{}", address.port())
        })
    }

    /// `http://127.0.0.1:port` of the plaintext listener.
    pub fn plain_url(&self) -> String {
        self.address("plain")
            .map_or_else(String::new, |address| format!("http://{address}"))
    }

    /// A caller of the TLS listener that trusts its certificate.
    pub fn caller(&self) -> SampleCaller {
        let authority =
            std::fs::read_to_string(self.folder().join("certs/ca.pem")).unwrap_or_default();
        SampleCaller::new(&self.url()).trusting(&authority)
    }

    /// A caller of the plaintext listener.
    pub fn plain_caller(&self) -> SampleCaller {
        SampleCaller::new(&self.plain_url())
    }

    /// What a caller of AWS shows who signs now.
    pub fn aws_token(&self, caller: &AwsCaller, clock: &Clock) -> String {
        PresignedCall::new(AWS_REGION, AWS_AUDIENCE, clock.now().seconds()).token(&caller.keys)
    }

    /// The audit records written so far, one JSON object each.
    pub fn records(&self) -> Vec<serde_json::Value> {
        let text = std::fs::read_to_string(self.folder().join("audit.jsonl")).unwrap_or_default();
        text.lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect()
    }
}

/// The AWS account and region whose callers a world with AWS knows, and the audience that they sign for.
pub const AWS_ACCOUNT: &str = "123456789012";
pub const AWS_REGION: &str = "eu-west-1";
pub const AWS_AUDIENCE: &str = "lightkeeper:gateway.acme.example";

/// `aws:` of the configuration.
fn aws(sts: &Sts, more: &str) -> String {
    format!(
        "aws:\n  - {{ name: aws, audience: \"{AWS_AUDIENCE}\", accounts: [\"{AWS_ACCOUNT}\"], regions: [{AWS_REGION}], \
         connect: \"{}\", ca: \"{}\"{more} }}\n",
        sts.address(),
        sts.ca().display()
    )
}

/// Apps with a webhook, and the project whose alerts it tells.
const WEBHOOK_APPS: [(&str, &str); 2] = [("shop", "shop-prod"), ("shop/checkout", "checkout-prod")];

/// The secret that the emulator's webhook for an app presents.
pub fn webhook_secret(app: &str) -> String {
    format!("webhook-secret-of-{}-77d0", app.replace('/', "-"))
}

/// The secret by which the destination `oncall` knows the gateway.
pub const ONCALL_SECRET: &str = "secret-of-oncall-4be2";

/// Writes everything that the configuration names.
fn furnish(
    folder: &Path,
    config: &str,
    policy: &str,
    projects: &[String],
    clock: &Clock,
) -> Result<(), String> {
    let secrets = folder.join("secrets");
    std::fs::create_dir_all(&secrets).map_err(|error| error.to_string())?;
    let write =
        |path: PathBuf, text: &str| std::fs::write(path, text).map_err(|error| error.to_string());
    for project in emulator::PROJECTS
        .into_iter()
        .chain(projects.iter().map(String::as_str))
    {
        write(secrets.join(project), &Emulator::access_token(project))?;
    }
    for (name, role) in [
        ("read", emulator::Role::Viewer),
        ("write", emulator::Role::Editor),
        ("admin", emulator::Role::Admin),
    ] {
        write(
            secrets.join(format!("api-key-{name}")),
            Emulator::api_key(role),
        )?;
    }
    let mut key = [0; 32];
    aws_lc_rs::rand::fill(&mut key).map_err(|_| "the machine gives no random bytes")?;
    write(secrets.join("session-key"), &STANDARD.encode(key))?;
    for (app, _) in WEBHOOK_APPS {
        write(
            secrets.join(format!("webhook-{}", app.replace('/', "-"))),
            &webhook_secret(app),
        )?;
    }
    write(secrets.join("oncall"), ONCALL_SECRET)?;
    write_certificates(&folder.join("certs"), false, clock)?;
    write(folder.join("policy.yaml"), policy)?;
    write(folder.join("lightkeeper.yaml"), config)
}
