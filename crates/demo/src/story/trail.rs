//! The trail of the story itself, by the program's own tools.
//!
//! What it does: has the trail sealed, and lets the program verify it, prove one of its records, and find a byte that was changed in a
//! copy. What it refuses to know: how a trail is sealed. Invariant: what is told is what the program printed and its exit status.

use std::path::Path;
use std::time::Duration;

use lightkeeper::reason::Reason;
use serde_json::Value;
use testkit::{SampleCaller, WorldPlan};

use super::narrator::{Narrator, text};

/// How long a checkpoint is waited for: longer than `every` takes.
const PATIENCE: Duration = Duration::from_secs(10);
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// The plan with a key that signs the trail's checkpoints.
pub fn sealed(mut plan: WorldPlan) -> WorldPlan {
    let key = "vault:\n  audit_keys: [{ file: secrets/audit-key }]\n";
    let audit = "audit: { file: audit.jsonl, name: demo, instance: gw-1, every: { records: 1000, time: 200ms } }";
    plan.config = plan.config.replacen("vault:\n", key, 1);
    plan.config = plan
        .config
        .replacen("audit: { file: audit.jsonl }", audit, 1);
    let digits: String = (0..32u8)
        .map(|byte| format!("{:02x}", byte.wrapping_mul(167) ^ 0x5a))
        .collect();
    plan.files.push(("secrets/audit-key".to_owned(), digits));
    plan
}

/// What a run of the program came to.
struct Ran {
    status: Option<i32>,
    /// The first line of what it printed.
    told: String,
}

/// Runs this very program, as a reader would type it.
async fn run(arguments: Vec<String>) -> Result<Ran, String> {
    let program = std::env::current_exe().map_err(|error| format!("the program: {error}"))?;
    let run = move || {
        std::process::Command::new(program)
            .args(&arguments)
            .output()
    };
    let output = tokio::task::spawn_blocking(run)
        .await
        .map_err(|error| format!("the program: {error}"))?
        .map_err(|error| format!("the program: {error}"))?;
    let told = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    Ok(Ran {
        status: output.status.code(),
        told: told.lines().next().unwrap_or_default().to_owned(),
    })
}

pub async fn tell(narrator: &mut Narrator<'_>) -> Result<(), String> {
    narrator.chapter(
        "The trail proves itself",
        "Its lines are leaves of a tree, whose head the gateway signs. These are the program's own tools; Go's can do the same\n\
         (docs/audit.md).\n",
    );
    let folder = narrator.world.folder().to_owned();
    let at = |name: &str| folder.join(name).display().to_string();
    let refused = narrator
        .record(|record| text(record, "reason") == Reason::NotPermitted.code())
        .await
        .ok_or("no refusal stands in the trail")?;
    let id = text(&refused, "request_id").to_owned();
    let note = checkpoint(narrator, &refused).await?;
    for (place, line) in note.lines().enumerate() {
        narrator.line(if place == 0 { "sealed by" } else { "" }, line);
    }
    let config = at("lightkeeper.yaml");
    let verify = ["audit", "verify", "--config", &config];
    step(
        narrator,
        &verify,
        "audit verify --config lightkeeper.yaml",
        0,
    )
    .await?;
    let prove = [
        "audit",
        "prove",
        &id,
        "--config",
        &config,
        "--directory",
        &at(""),
    ]
    .map(str::to_owned);
    let proven = run(prove.into()).await?;
    if proven.status != Some(0) {
        narrator.differs(format!("no proof of {id}: {}", proven.told));
    }
    let (proof, line) = (at(&format!("{id}.tlog-proof")), at(&format!("{id}.json")));
    let held = [
        "audit", "verify", "--config", &config, "--proof", &proof, &line,
    ];
    step(
        narrator,
        &held,
        "audit verify --proof REQUEST_ID.tlog-proof REQUEST_ID.json",
        0,
    )
    .await?;

    let (trail, notes) = (at("copy.jsonl"), at("copy.jsonl.checkpoints"));
    let place = changed(&folder, &id)?;
    let copy = [
        "audit",
        "verify",
        "--config",
        &config,
        "--checkpoints",
        &notes,
        &trail,
    ];
    let wrong = step(
        narrator,
        &copy,
        "audit verify, of a copy in which one byte is another",
        1,
    )
    .await?;
    if !wrong.contains(&format!("copy.jsonl:{place}:")) {
        narrator.differs(format!(
            "line {place} was changed, and this is told: {wrong}"
        ));
    }
    Ok(())
}

/// Runs the program, and tells what it says.
async fn step(
    narrator: &mut Narrator<'_>,
    arguments: &[&str],
    shown: &str,
    status: i32,
) -> Result<String, String> {
    let ran = run(arguments.iter().map(|word| (*word).to_owned()).collect()).await?;
    if ran.status != Some(status) {
        narrator.differs(format!(
            "`{shown}` ends with {:?}: {}",
            ran.status, ran.told
        ));
    }
    narrator.line("$", &format!("lightkeeper {shown}"));
    let folder = format!("{}/", narrator.world.folder().display());
    narrator.line("", &ran.told.replace(&folder, ""));
    Ok(ran.told)
}

/// The first checkpoint that states a record.
async fn checkpoint(narrator: &Narrator<'_>, record: &Value) -> Result<String, String> {
    let admin = SampleCaller::new(&format!("http://{}", narrator.world.admin));
    let seq = record
        .get("seq")
        .and_then(Value::as_u64)
        .unwrap_or_default();
    let look = async {
        loop {
            if let Ok(answer) = admin.get("/audit/checkpoint").await {
                let note = answer.text();
                let size = note
                    .lines()
                    .nth(1)
                    .and_then(|size| size.parse::<u64>().ok());
                if answer.status == 200 && size.is_some_and(|size| size > seq) {
                    return note;
                }
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    };
    let found = tokio::time::timeout(PATIENCE, look).await;
    found.map_err(|_| "no checkpoint states the record".to_owned())
}

/// Copies the trail and its checkpoints, with one byte of a request's record changed. Which line that is.
fn changed(folder: &Path, id: &str) -> Result<usize, String> {
    let read = |name: &str| {
        let text = std::fs::read_to_string(folder.join(name));
        text.map_err(|error| format!("`{name}`: {error}"))
    };
    let write = |name: &str, text: &str| {
        std::fs::write(folder.join(name), text).map_err(|error| format!("`{name}`: {error}"))
    };
    let (trail, notes) = (read("audit.jsonl")?, read("audit.jsonl.checkpoints")?);
    let is_it = |line: &&str| line.contains(id);
    let line = trail.lines().find(is_it).ok_or("the record is gone")?;
    let place = trail.lines().take_while(|line| !line.contains(id)).count() + 1;
    let other = line.replacen("\"decision\":\"deny\"", "\"decision\":\"denz\"", 1);
    if other == *line {
        return Err("the record says no denial".to_owned());
    }
    write("copy.jsonl", &trail.replacen(line, &other, 1))?;
    write("copy.jsonl.checkpoints", &notes)?;
    Ok(place)
}
