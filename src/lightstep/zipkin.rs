//! Zipkin v2 JSON: an array of spans.
//!
//! What it does: reads token and service out of each span's tags, and writes each span with our token in the
//! tag `lightstep.access_token`, the documented place, and with the stamp's tags: a report of this format
//! has no place but its spans. What it refuses to know: JSON's syntax, whose token it is. Invariants: no
//! span keeps a carrier or reserved tag; members that are looked at stand once.

use zeroize::Zeroizing;

use super::findings::{CARRIERS, Findings, Names, TagKind};
use super::json::{self, Json, Member, Once};
use crate::otlp::Malformed;

pub(super) fn read(body: &[u8], findings: &mut Findings) -> Result<(), Malformed> {
    Pass {
        json: Json::of(body)?,
        findings,
        out: None,
        ours: &[],
        stamp: &[],
    }
    .report()
}

/// How much longer the text may become.
pub(super) fn growth(items: u64, token: usize, stamp: &[(&str, &str)]) -> usize {
    let tag = |(name, value): &(&str, &str)| {
        json::string_bytes_at_most(name) + json::string_bytes_at_most(value) + 2
    };
    let each = 2 * token + 64 + stamp.iter().map(tag).sum::<usize>();
    usize::try_from(items)
        .unwrap_or(usize::MAX)
        .saturating_mul(each)
}

/// `items` is what reading found, so that all memory is taken at once.
pub(super) fn write(
    body: &[u8],
    items: u64,
    token: &str,
    stamp: &[(&str, &str)],
) -> Result<Zeroizing<Vec<u8>>, Malformed> {
    let mut ours = Zeroizing::new(Vec::with_capacity(growth(1, token.len(), stamp)));
    for (index, (name, value)) in std::iter::once(&(CARRIERS[0], token))
        .chain(stamp)
        .enumerate()
    {
        if index > 0 {
            ours.push(b',');
        }
        json::push_string(&mut ours, name);
        ours.push(b':');
        json::push_string(&mut ours, value);
    }
    let each = usize::try_from(items)
        .unwrap_or(usize::MAX)
        .saturating_mul(ours.len() + 16);
    let mut out = Zeroizing::new(Vec::with_capacity(body.len().saturating_add(each)));
    let mut unused = Findings::default();
    Pass {
        json: Json::of(body)?,
        findings: &mut unused,
        out: Some(&mut out),
        ours: &ours,
        stamp,
    }
    .report()?;
    Ok(out)
}

/// One walk over a body, to read it (`out` is `None`) or to write it.
struct Pass<'a, 'o> {
    json: Json<'a>,
    findings: &'o mut Findings,
    out: Option<&'o mut Vec<u8>>,
    /// The members to put into every span's tags.
    ours: &'o [u8],
    stamp: &'o [(&'o str, &'o str)],
}

impl<'a> Pass<'a, '_> {
    fn put(&mut self, text: &[u8]) {
        if let Some(out) = &mut self.out {
            out.extend_from_slice(text);
        }
    }

    fn put_member(&mut self, member: &Member<'a>) {
        for part in [member.raw_name, ":", member.value] {
            self.put(part.as_bytes());
        }
    }

    fn separate(&mut self, first: &mut bool) {
        if !std::mem::replace(first, false) {
            self.put(b",");
        }
    }

    fn report(&mut self) -> Result<(), Malformed> {
        let json = self.json;
        if json::is_null(json.whole()) {
            return Err(json.malformed(json.whole(), "this should be an array"));
        }
        let mut first = true;
        self.put(b"[");
        json.elements(json.whole(), &mut |span| {
            self.separate(&mut first);
            self.span(span)
        })?;
        self.put(b"]");
        Ok(())
    }

    fn span(&mut self, part: &'a str) -> Result<(), Malformed> {
        let json = self.json;
        let (mut tags, mut endpoint, mut trace, mut id) =
            (Once(false), Once(false), Once(false), Once(false));
        let (mut component, mut service) = (Names::None, Names::None);
        let mut first = true;
        self.findings.items += 1;
        self.put(b"{");
        json.members(part, &mut |member| {
            self.separate(&mut first);
            match member.folded().as_str() {
                "tags" => {
                    tags.seen(json, &member)?;
                    self.put(b"\"tags\":");
                    component = self.tags(member.value)?;
                    return Ok(());
                }
                "localendpoint" => {
                    endpoint.seen(json, &member)?;
                    service = service_name(json, member.value)?;
                }
                "traceid" => trace.seen(json, &member)?,
                "id" => id.seen(json, &member)?,
                _ => {}
            }
            self.put_member(&member);
            Ok(())
        })?;
        // A span that no reader takes could ask for many times its length in tags.
        if !trace.0 || !id.0 {
            return Err(json.malformed(part, "a span has no `traceId` or `id`"));
        }
        if !tags.0 {
            self.separate(&mut first);
            self.put(b"\"tags\":");
            self.tags("null")?;
        }
        self.put(b"}");
        match (&component, &service) {
            // One reader skips the empty name, another takes it.
            (Names::One(one), Names::One(other)) if one.is_empty() != other.is_empty() => {
                self.findings.note_unclear_service();
            }
            // The tag outweighs the endpoint where it is known, so that clients may set both: each must be permitted.
            _ => {
                self.findings.note_names(&component);
                self.findings.note_names(&service);
            }
        }
        Ok(())
    }

    /// Writes the tags that may stay, and ours. Gives the service's name; a tag that stands twice is unclear.
    fn tags(&mut self, part: &'a str) -> Result<Names, Malformed> {
        let json = self.json;
        let mut component = Names::None;
        let mut first = true;
        self.put(b"{");
        json.members(part, &mut |member| {
            match TagKind::of(member.name.as_bytes()) {
                TagKind::Carrier => {
                    if let Some(token) = json::text(member.value) {
                        self.findings.note_token(token.as_bytes());
                    }
                    return Ok(());
                }
                TagKind::Reserved => {
                    self.findings.forged += 1;
                    return Ok(());
                }
                TagKind::ComponentName => {
                    let name = json::text(member.value).filter(|_| component == Names::None);
                    component.add(name.as_deref());
                }
                TagKind::Plain => {}
            }
            if !self.stamp.iter().any(|(name, _)| *name == member.name) {
                self.separate(&mut first);
                self.put_member(&member);
            }
            Ok(())
        })?;
        if !self.ours.is_empty() {
            self.separate(&mut first);
            self.put(self.ours);
        }
        self.put(b"}");
        Ok(component)
    }
}

/// `serviceName` of an endpoint, if it has one.
fn service_name(json: Json<'_>, part: &str) -> Result<Names, Malformed> {
    let mut seen = Once(false);
    let mut found = Names::None;
    json.members(part, &mut |member| {
        if member.folded() == "servicename" {
            seen.seen(json, &member)?;
            if !json::is_null(member.value) {
                found.add(json::text(member.value).as_deref());
            }
        }
        Ok(())
    })?;
    Ok(found)
}
