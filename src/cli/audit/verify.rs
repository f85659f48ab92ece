//! `audit verify`: a trail against its checkpoints.
//!
//! What it does: builds the tree over the lines, compares its root wherever a checkpoint states one, and names the first line that
//! is not as it was sealed. What it refuses to know: what records say, but for those before checkpoints, which repeat two bytes of
//! each leaf's hash. Invariants: a trail is as it was sealed only if every checkpoint's root came out; where a line cannot be told,
//! the lines between two checkpoints are named.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, LazyLock};
use std::time::Instant;

use base64::prelude::{BASE64_STANDARD_NO_PAD, Engine as _};
use clap::Args;
use memchr::memmem::Finder;

use super::fault::AuditFault;
use super::sealed::{SealedHead, Seals};
use super::walk::{LinePlace, in_order, walk};
use super::witnessed::{WantedWitnesses, WitnessedHead, WrongWitness, witnessed};
use super::{Output, SealedArguments, sealed, shown};
use crate::audit::lines::TrailLine;
use crate::audit::timestamp;
use crate::transparency::{Checkpoint, TlogProof, TreeEdge, TreeHash, verify_inclusion};

/// Lines that are kept of a part of the trail, to name one; a checkpoint comes sooner.
const KEPT_LINES: usize = 4096;
/// Leaves of which a checkpoint's record repeats two bytes.
const SHORT_LIMIT: usize = crate::audit::SHORT_LIMIT;
/// What both marks of a checkpoint's record hold; nearly all lines are looked at for it alone.
static MARK: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("checkpoint"));
/// Where a checkpoint's last line is not.
const JUMP: &str = "records are missing, which a checkpoint states";
/// The longest proof: 64 hashes and a note.
const PROOF_LIMIT_BYTES: u64 = 128 << 10;

#[derive(Debug, Args)]
pub struct VerifyArguments {
    #[command(flatten)]
    pub(crate) sealed: SealedArguments,
    /// The files are one record's line, and this is its proof: no trail and no checkpoints are needed.
    #[arg(long, value_name = "FILE")]
    pub(crate) proof: Option<PathBuf>,
    /// A witness that must have countersigned a checkpoint, `name+id+key`; may be given more than once.
    #[arg(long = "witness", value_name = "KEY")]
    pub(crate) witnesses: Vec<String>,
    /// The checkpoints that witnesses countersigned; default: the checkpoints' file and `.cosigned`.
    #[arg(long, value_name = "FILE")]
    pub(crate) cosigned: Option<PathBuf>,
}

/// A line, as a finding names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NamedLine {
    /// Shared by all its lines.
    pub file: Arc<Path>,
    pub line: u64,
}

impl NamedLine {
    fn of(place: LinePlace<'_>) -> Self {
        NamedLine {
            file: place.file.clone(),
            line: place.line,
        }
    }
}

/// What is wrong with a trail, first of all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct WrongLine {
    /// The first line that is not as it was sealed, or may be it.
    pub first: NamedLine,
    /// The last line that may be it.
    pub last: NamedLine,
    pub why: &'static str,
}

/// What was seen of a trail.
#[derive(Debug, Default)]
pub(super) struct VerifiedTrail {
    pub lines: u64,
    pub bytes: u64,
    /// Numbers without a line.
    pub missing: u64,
    /// Checkpoints whose root came out.
    pub(crate) checkpoints: usize,
    /// What the last of them states.
    pub(crate) sealed: u64,
    /// Lines behind it.
    pub unsealed: u64,
    /// Whether the last line has no end: it is being written, or was cut.
    pub is_torn: bool,
    pub wrong: Option<WrongLine>,
}

/// A line of the present part, with what a checkpoint's record will repeat of it.
struct SeenLine {
    seq: u64,
    place: NamedLine,
    short: u16,
}

/// A checkpoint's record: of which number on, and two bytes of each leaf.
struct ShortList {
    from: u64,
    short: Vec<u16>,
}

impl ShortList {
    /// From a line that may be such a record.
    fn of(line: &[u8]) -> Option<Self> {
        const EVENT: &[u8] = b"\"event\":\"checkpoint_started\"";
        // Nearly all lines are none, and are not read as JSON.
        MARK.find(line)?;
        memchr::memmem::find(line, EVENT)?;
        #[derive(serde::Deserialize)]
        struct Announced {
            event: String,
            detail: String,
        }
        let read: Announced = serde_json::from_slice(line).ok()?;
        if read.event != "checkpoint_started" {
            return None;
        }
        let (head, list) = read.detail.rsplit_once(": ")?;
        let (_, from) = head.rsplit_once(" from ")?;
        let bytes = BASE64_STANDARD_NO_PAD.decode(list).ok()?;
        let pairs = bytes.chunks_exact(2).filter_map(|pair| pair.first_chunk());
        Some(ShortList {
            from: from.parse().ok()?,
            short: pairs.map(|pair| u16::from_be_bytes(*pair)).collect(),
        })
    }

    /// The same line, as it would be of these leaves from this number on.
    fn corrected(line: &[u8], from: u64, leaves: &[SeenLine]) -> Option<Vec<u8>> {
        let text = std::str::from_utf8(line).ok()?;
        let (head, rest) = text.split_once(" from ")?;
        let (_, tail) = rest.split_once('"')?;
        let leaves = leaves.iter().skip_while(|seen| seen.seq < from);
        let leaves = leaves.take(SHORT_LIMIT);
        let bytes: Vec<u8> = leaves.flat_map(|seen| seen.short.to_be_bytes()).collect();
        let list = BASE64_STANDARD_NO_PAD.encode(bytes);
        Some(format!("{head} from {from}: {list}\"{tail}").into_bytes())
    }
}

/// Whether a line is, or was, a checkpoint's record: no single change takes both marks from it.
fn was_list(line: &[u8]) -> bool {
    if MARK.find(line).is_none() {
        return false;
    }
    let has = |mark: &[u8]| memchr::memmem::find(line, mark).is_some();
    has(b"checkpoint_started") || has(b"\"checkpoint-")
}

/// Holds lines against heads.
pub(super) struct Verifier<'a> {
    heads: &'a [SealedHead],
    /// Of those, what comes next.
    next: usize,
    edge: TreeEdge,
    part: Vec<SeenLine>,
    /// The part has more lines than are kept.
    is_long: bool,
    /// Leaves before the present part.
    begin: u64,
    /// The last line, if it was a checkpoint's record and cannot be read as one.
    damaged: Option<NamedLine>,
    /// A line that breaks the form, and what of it; the record of the next checkpoint may name an earlier one.
    suspect: Option<WrongLine>,
    last: Option<NamedLine>,
    verified: VerifiedTrail,
}

impl<'a> Verifier<'a> {
    pub(super) fn new(seals: &'a Seals) -> Self {
        let begin = seals.begin.size();
        Verifier {
            heads: &seals.heads,
            // Of what was before, nothing can be said.
            next: seals.heads.partition_point(|head| head.size <= begin),
            edge: seals.begin.clone(),
            part: Vec::new(),
            is_long: false,
            begin,
            damaged: None,
            suspect: None,
            last: None,
            verified: VerifiedTrail::default(),
        }
    }

    /// Takes the next line. Breaks off once the first wrong line is known.
    pub(super) fn see(&mut self, place: LinePlace<'_>, line: TrailLine<'_>) -> ControlFlow<()> {
        let named = NamedLine::of(place);
        if !line.is_ended && place.in_last_file {
            self.verified.is_torn = true;
            return ControlFlow::Continue(());
        }
        self.verified.lines += 1;
        self.verified.bytes += line.text.len() as u64 + 1;
        let leaf = TreeHash::of_leaf(line.text);
        let seq = line.seq();
        if self.suspect.is_none() {
            let anomaly = match seq {
                None => Some("it is no record"),
                Some(seq) if seq < self.edge.size() => {
                    Some("its number was there before, or is smaller than one before it")
                }
                Some(seq) if self.head().is_some_and(|head| head.size <= seq) => Some(JUMP),
                Some(_) => None,
            };
            self.suspect = anomaly.map(|why| {
                let damaged = self.damaged.take().filter(|_| why == JUMP);
                at(&damaged.unwrap_or_else(|| named.clone()), why)
            });
        }
        let list = ShortList::of(line.text);
        if let Some(list) = &list
            && let Some(wrong) = self.compare(list, &named, line.text, seq)
        {
            self.verified.wrong = Some(wrong);
            return ControlFlow::Break(());
        }
        if let Some(suspect) = &self.suspect {
            if list.is_some() || self.part.len() >= KEPT_LINES {
                self.verified.wrong = Some(suspect.clone());
                return ControlFlow::Break(());
            }
        } else if let Some(seq) = seq {
            self.verified.missing += seq - self.edge.size();
            self.edge.fill_to(seq);
            self.edge.push(leaf);
        }
        self.last = Some(named.clone());
        let is_list = list.is_some();
        self.damaged = (!is_list && was_list(line.text)).then(|| named.clone());
        if self.part.len() >= KEPT_LINES {
            self.part.clear();
            self.is_long = true;
        }
        self.part.push(SeenLine {
            seq: seq.unwrap_or_default(),
            place: named,
            short: leaf.short(),
        });
        if self.suspect.is_none() {
            if let Some(wrong) = self.hold(is_list || was_list(line.text)) {
                self.verified.wrong = Some(wrong);
                return ControlFlow::Break(());
            }
            self.verified.unsealed += 1;
            if self.is_sealed() {
                self.verified.unsealed = 0;
            }
        }
        ControlFlow::Continue(())
    }

    fn head(&self) -> Option<&'a SealedHead> {
        self.heads.get(self.next)
    }

    fn is_sealed(&self) -> bool {
        self.verified.checkpoints > 0 && self.verified.sealed == self.edge.size()
    }

    /// Compares the root, if a checkpoint states one here. `is_list`: the last line is, or was, a checkpoint's record.
    fn hold(&mut self, is_list: bool) -> Option<WrongLine> {
        let size = self.edge.size();
        while let Some(head) = self.head().filter(|head| head.size == size) {
            if head.root != self.edge.root() {
                let last = self.last.as_ref()?;
                // The lines before it are as it says, or it is the one that cannot say it any more.
                let is_it = is_list && self.part.len() <= SHORT_LIMIT;
                let why = "the lines do not come to what the checkpoint states";
                if is_it {
                    return Some(at(last, why));
                }
                // The next checkpoint's record may name one of them.
                self.suspect = Some(WrongLine {
                    first: self.part.first().map_or(last, |first| &first.place).clone(),
                    last: last.clone(),
                    why,
                });
                return None;
            }
            self.next += 1;
            self.verified.checkpoints += 1;
            self.verified.sealed = size;
            self.part.clear();
            self.is_long = false;
            self.begin = size;
        }
        None
    }

    /// The first line that is another than the list says. `line`: the list's own, at `named`.
    fn compare(
        &self,
        list: &ShortList,
        named: &NamedLine,
        line: &[u8],
        seq: Option<u64>,
    ) -> Option<WrongLine> {
        if self.is_long {
            return None;
        }
        let is_own = || {
            let by = |from: u64| ShortList::corrected(line, from, &self.part);
            [list.from, self.begin]
                .into_iter()
                .any(|from| self.comes_to_it(by(from), seq))
        };
        let seen = self.part.iter().skip_while(|seen| seen.seq < list.from);
        let pairs = seen.zip(&list.short).enumerate();
        let mut others = pairs.filter(|(_, (seen, short))| seen.short != **short);
        let why = "it is not the line that was sealed here";
        let Some((_, (seen, _))) = others.next() else {
            let (there, listed) = (
                self.part
                    .iter()
                    .filter(|seen| seen.seq >= list.from)
                    .count(),
                list.short.len(),
            );
            // A full list says nothing of the lines behind its last.
            let is_short = there < listed;
            if is_short && is_own() {
                return Some(at(named, why));
            }
            return is_short.then(|| at(named, "records before it are missing"));
        };
        if self.suspect.is_none() && is_own() {
            return Some(at(named, why));
        }
        let suspect = self.suspect.as_ref();
        let is_sooner = |other: &&WrongLine| {
            let place = |line: &NamedLine| self.part.iter().position(|seen| seen.place == *line);
            let sooner = place(&other.first).zip(place(&seen.place));
            other.first == other.last && sooner.is_some_and(|(other, seen)| other < seen)
        };
        Some(match suspect.filter(is_sooner) {
            Some(sooner) => sooner.clone(),
            None => at(&seen.place, why),
        })
    }

    /// Whether the root comes out with this line in the place of the one that is there.
    fn comes_to_it(&self, line: Option<Vec<u8>>, seq: Option<u64>) -> bool {
        let (Some(line), Some(seq), Some(head)) = (line, seq, self.head()) else {
            return false;
        };
        let mut edge = self.edge.clone();
        edge.fill_to(seq);
        edge.push(TreeHash::of_leaf(&line));
        edge.size() == head.size && edge.root() == head.root
    }

    /// What was seen, once there are no more lines.
    pub(super) fn finish(mut self) -> VerifiedTrail {
        if self.verified.wrong.is_none()
            && let Some(suspect) = self.suspect.take()
        {
            self.verified.wrong = Some(suspect);
        }
        if self.verified.wrong.is_none() && self.head().is_some() {
            let behind = match (self.damaged.take(), self.last.take()) {
                (Some(damaged), _) => damaged,
                (None, Some(last)) => NamedLine {
                    line: last.line + 1,
                    ..last
                },
                (None, None) => NamedLine {
                    file: Path::new("").into(),
                    line: 1,
                },
            };
            self.verified.wrong = Some(at(
                &behind,
                "the trail ends before it, and a checkpoint states more records",
            ));
        }
        self.verified
    }
}

fn at(place: &NamedLine, why: &'static str) -> WrongLine {
    WrongLine {
        first: place.clone(),
        last: place.clone(),
        why,
    }
}

pub(super) fn verify(arguments: &VerifyArguments) -> Result<ExitCode, AuditFault> {
    if let Some(proof) = &arguments.proof {
        return verify_proof(arguments, proof);
    }
    let sealed = &arguments.sealed;
    let begun = Instant::now();
    let seals = match sealed::read(sealed) {
        Err(AuditFault::Checkpoints(wrong)) => {
            match sealed.output {
                Output::Text => println!("wrong: {wrong}"),
                Output::Json => println!(
                    "{}",
                    serde_json::json!({
                        "ok": false,
                        "wrong": {
                            "file": wrong.path.display().to_string(),
                            "first_line": wrong.line,
                            "last_line": wrong.line,
                            "why": wrong.why.to_string(),
                        },
                    })
                ),
            }
            return Ok(ExitCode::FAILURE);
        }
        read => read?,
    };
    let files = in_order(&sealed.trail)?;
    let mut verifier = Verifier::new(&seals);
    walk(&files, sealed.trail.quiet, |place, line| {
        Ok(verifier.see(place, line))
    })?;
    let mut verified = verifier.finish();
    if let Some(wrong) = &mut verified.wrong
        && wrong.first.file.as_os_str().is_empty()
        && let Some(last) = files.last()
    {
        wrong.first.file = last.path.as_path().into();
        wrong.last.file = last.path.as_path().into();
    }
    let log = sealed::keys(sealed)?;
    let wanted = WantedWitnesses {
        witnesses: &arguments.witnesses,
        cosigned: arguments.cosigned.as_deref(),
        log: &log,
    };
    let witnessed = witnessed(&wanted, &seals)?;
    tell(&verified, &witnessed, &seals, sealed.output, begun);
    Ok(match (verified.wrong, witnessed) {
        (None, Ok(_)) => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    })
}

fn tell(
    verified: &VerifiedTrail,
    witnessed: &Result<Vec<WitnessedHead>, WrongWitness>,
    seals: &Seals,
    output: Output,
    begun: Instant,
) {
    let seconds = begun.elapsed().as_secs_f64();
    if output == Output::Json {
        let wrong = verified.wrong.as_ref().map(|wrong| {
            serde_json::json!({
                "file": wrong.first.file.display().to_string(),
                "first_line": wrong.first.line,
                "last_file": wrong.last.file.display().to_string(),
                "last_line": wrong.last.line,
                "why": wrong.why,
            })
        });
        let heads = witnessed.as_deref().unwrap_or_default().iter();
        let seen: Vec<_> = heads
            .map(|head| serde_json::json!({ "witness": head.witness, "size": head.size, "time": head.time }))
            .collect();
        let told = serde_json::json!({
            "ok": verified.wrong.is_none() && witnessed.is_ok(),
            "wrong": wrong,
            "wrong_witness": witnessed.as_ref().err().map(ToString::to_string),
            "witnessed": seen,
            "records": verified.lines,
            "bytes": verified.bytes,
            "numbers_without_record": verified.missing,
            "checkpoints": verified.checkpoints,
            "sealed_size": verified.sealed,
            "unsealed": verified.unsealed,
            "is_torn": verified.is_torn,
            "seconds": seconds,
        });
        println!("{told:#}");
        return;
    }
    if let Some(wrong) = &verified.wrong {
        let (first, last) = (&wrong.first, &wrong.last);
        let place = if first == last {
            format!("{}:{}", shown(&first.file), first.line)
        } else {
            let to = format!("{}:{}", shown(&last.file), last.line);
            format!(
                "one of the lines from {}:{} to {to}",
                shown(&first.file),
                first.line
            )
        };
        println!("wrong: {place}: {}", wrong.why);
    } else {
        println!(
            "as it was sealed: {} records, {} checkpoints of {}",
            verified.lines,
            verified.checkpoints,
            shown(&seals.path)
        );
    }
    match witnessed {
        Ok(heads) => {
            for WitnessedHead {
                witness,
                size,
                time,
            } in heads
            {
                let millis = i64::try_from(*time)
                    .unwrap_or_default()
                    .saturating_mul(1000);
                let when = timestamp(millis);
                println!("  `{witness}` saw the first {size} records, last at {when}");
            }
        }
        Err(wrong) => println!("wrong: {wrong}"),
    }
    println!(
        "  {} records after the last checkpoint are unsealed",
        verified.unsealed
    );
    if verified.missing > 0 {
        println!(
            "  {} numbers have no record: not given, or lost (see `seq_gap`)",
            verified.missing
        );
    }
    if verified.is_torn {
        println!("  the last line has no end: it is being written, or was cut");
    }
    let rate = verified.bytes as f64 / seconds.max(1e-6) / 1e6;
    println!(
        "  {:.1} MB in {seconds:.1} s: {rate:.0} MB/s",
        verified.bytes as f64 / 1e6
    );
}

/// One record's line against its proof.
fn verify_proof(
    arguments: &VerifyArguments,
    proof: &std::path::Path,
) -> Result<ExitCode, AuditFault> {
    let keys = sealed::keys(&arguments.sealed)?;
    let text = sealed::text(proof, PROOF_LIMIT_BYTES)?;
    let proof =
        TlogProof::parse(&text).ok_or(AuditFault::Wrong("the proof is no `tlog-proof@v1`"))?;
    let opened = Checkpoint::open(&proof.note, &keys);
    let files = in_order(&arguments.sealed.trail)?;
    let mut lines = Vec::new();
    walk(&files, true, |_, line| {
        lines.push(TreeHash::of_leaf(line.text));
        Ok(match lines.len() {
            1 => ControlFlow::Continue(()),
            _ => ControlFlow::Break(()),
        })
    })?;
    let (why, is_good) = match (lines.as_slice(), &opened) {
        ([leaf], Ok((head, _))) => {
            let place = (proof.index, *leaf);
            match verify_inclusion(place, &proof.hashes, (head.size, head.root)) {
                true => (
                    format!(
                        "record {} is in {} at {}",
                        proof.index, head.origin, head.size
                    ),
                    true,
                ),
                false => (
                    "the line is not the one that the proof is of".to_owned(),
                    false,
                ),
            }
        }
        (_, Err(fault)) => (fault.to_string(), false),
        _ => ("give the record's line alone".to_owned(), false),
    };
    match arguments.sealed.output {
        Output::Text => println!("{}{why}", if is_good { "" } else { "wrong: " }),
        Output::Json => println!("{}", serde_json::json!({ "ok": is_good, "told": why })),
    }
    Ok(if is_good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

#[cfg(test)]
mod tests;
