//! One record as a line of JSON.
//!
//! What it does: writes a record's fields in their order. What it refuses to know: what they mean. Invariant: the line is, byte
//! for byte, what serde makes of the record; a text is looked through once for what must be escaped, many bytes at a time, and
//! nearly always copied whole.

use serde::Serialize;

use super::record::{Items, PartRecord, Record, Who};
use crate::accept::ShownCertificate;

/// Appends the record, without an end of line. Nothing that a record holds fails to be written.
pub(super) fn write(record: &Record, out: &mut Vec<u8>) {
    // As serde's derived order, field by field; a new field fails to compile here until it has its line.
    let Record {
        seq,
        time,
        request_id,
        event,
        listener,
        client_address,
        identity,
        certificate,
        http_method,
        path,
        operation,
        app,
        project,
        backend,
        decision,
        reason,
        detail,
        bindings,
        policy_version,
        status,
        grpc_status,
        upstream_status,
        bytes_in,
        bytes_out,
        items,
        parts,
        duration_us,
    } = record;
    out.extend_from_slice(b"{\"seq\":");
    number(out, *seq);
    text(out, ",\"time\":", time);
    text(out, ",\"request_id\":", request_id);
    text(out, ",\"event\":", event.code());
    some_text(out, ",\"listener\":", listener.as_deref());
    some_text(out, ",\"client_address\":", client_address.as_deref());
    if let Some(identity) = identity {
        out.extend_from_slice(b",\"identity\":");
        who(out, identity);
    }
    if let Some(certificate) = certificate {
        out.extend_from_slice(b",\"certificate\":");
        shown(out, certificate);
    }
    some_text(out, ",\"http_method\":", http_method.as_deref());
    some_text(out, ",\"path\":", path.as_deref());
    some_text(out, ",\"operation\":", operation.as_deref());
    some_text(out, ",\"app\":", app.as_deref());
    some_text(out, ",\"project\":", project.as_deref());
    some_text(out, ",\"backend\":", backend.as_deref());
    some_text(out, ",\"decision\":", *decision);
    text(out, ",\"reason\":", reason.code());
    some_text(out, ",\"detail\":", detail.as_deref());
    out.extend_from_slice(b",\"bindings\":[");
    listed(out, bindings, |out, binding| text(out, "", binding));
    text(out, "],\"policy_version\":", policy_version);
    some_number(out, ",\"status\":", *status);
    some_number(out, ",\"grpc_status\":", *grpc_status);
    some_number(out, ",\"upstream_status\":", *upstream_status);
    out.extend_from_slice(b",\"bytes_in\":");
    number(out, *bytes_in);
    out.extend_from_slice(b",\"bytes_out\":");
    number(out, *bytes_out);
    out.extend_from_slice(b",\"items\":");
    match items {
        Some(items) => counted(out, *items),
        None => out.extend_from_slice(b"null"),
    }
    if !parts.is_empty() {
        out.extend_from_slice(b",\"parts\":[");
        listed(out, parts, part);
        out.extend_from_slice(b"]");
    }
    out.extend_from_slice(b",\"duration_us\":");
    number(out, *duration_us);
    out.extend_from_slice(b"}");
}

fn who(out: &mut Vec<u8>, who: &Who) {
    let Who {
        method,
        issuer,
        subject,
        subject_claim,
        certificate,
        aws,
        facts,
    } = who;
    text(out, "{\"method\":", method);
    text(out, ",\"issuer\":", issuer);
    text(out, ",\"subject\":", subject);
    some_text(out, ",\"subject_claim\":", subject_claim.as_deref());
    if let Some(certificate) = certificate {
        out.extend_from_slice(b",\"certificate\":");
        shown(out, certificate);
    }
    // These are seldom there.
    if let Some(aws) = aws {
        out.extend_from_slice(b",\"aws\":");
        plain(out, aws);
    }
    if let Some(facts) = facts {
        out.extend_from_slice(b",\"facts\":");
        plain(out, facts);
    }
    out.extend_from_slice(b"}");
}

/// As serde has it.
fn plain(out: &mut Vec<u8>, value: &impl Serialize) {
    // Texts, lists and objects always serialise, and memory takes them.
    let _ = value.serialize(&mut serde_json::Serializer::new(out));
}

fn shown(out: &mut Vec<u8>, certificate: &ShownCertificate) {
    let ShownCertificate { ca, sha256 } = certificate;
    out.extend_from_slice(b"{");
    if let Some(ca) = ca {
        text(out, "\"ca\":", ca);
        out.extend_from_slice(b",");
    }
    text(out, "\"sha256\":", sha256);
    out.extend_from_slice(b"}");
}

fn part(out: &mut Vec<u8>, part: &PartRecord) {
    let PartRecord {
        apps,
        project,
        backend,
        leg,
        destination,
        items,
        reason,
        upstream_status,
    } = part;
    out.extend_from_slice(b"{\"apps\":[");
    listed(out, apps, |out, app| text(out, "", app));
    out.extend_from_slice(b"]");
    some_text(out, ",\"project\":", project.as_deref());
    some_text(out, ",\"backend\":", backend.as_deref());
    some_text(out, ",\"leg\":", *leg);
    some_text(out, ",\"destination\":", destination.as_deref());
    out.extend_from_slice(b",\"items\":");
    counted(out, *items);
    text(out, ",\"reason\":", reason.code());
    some_number(out, ",\"upstream_status\":", *upstream_status);
    out.extend_from_slice(b"}");
}

fn counted(out: &mut Vec<u8>, items: Items) {
    let Items { accepted, rejected } = items;
    out.extend_from_slice(b"{\"accepted\":");
    number(out, accepted);
    out.extend_from_slice(b",\"rejected\":");
    number(out, rejected);
    out.extend_from_slice(b"}");
}

fn listed<T>(out: &mut Vec<u8>, all: &[T], mut write: impl FnMut(&mut Vec<u8>, &T)) {
    for (place, each) in all.iter().enumerate() {
        if place > 0 {
            out.extend_from_slice(b",");
        }
        write(out, each);
    }
}

fn some_text(out: &mut Vec<u8>, key: &str, value: Option<&str>) {
    if let Some(value) = value {
        text(out, key, value);
    }
}

/// A key as it stands in the line, and a text.
fn text(out: &mut Vec<u8>, key: &str, value: &str) {
    out.extend_from_slice(key.as_bytes());
    // RFC 8259 section 7: what must be escaped.
    let is_plain = |byte: &u8| (*byte >= 0x20) & (*byte != b'"') & (*byte != b'\\');
    if value
        .as_bytes()
        .iter()
        .fold(true, |all, byte| all & is_plain(byte))
    {
        out.extend_from_slice(b"\"");
        out.extend_from_slice(value.as_bytes());
        out.extend_from_slice(b"\"");
    } else {
        // A text always serialises, and memory takes it.
        let _ = value.serialize(&mut serde_json::Serializer::new(out));
    }
}

fn some_number(out: &mut Vec<u8>, key: &str, value: Option<u16>) {
    if let Some(value) = value {
        out.extend_from_slice(key.as_bytes());
        number(out, u64::from(value));
    }
}

fn number(out: &mut Vec<u8>, value: u64) {
    let _ = value.serialize(&mut serde_json::Serializer::new(out));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::audit::record::{AwsPrincipal, ClaimFact, NameText, WhoFacts};
    use crate::reason::Reason;
    use crate::telemetry::EventName;

    /// Any text, with many that must be escaped.
    fn any_text() -> impl Strategy<Value = String> {
        prop_oneof![any::<String>(), "[\\x00-\\x7f\"\\\\]{0,40}"]
    }

    fn some<T: std::fmt::Debug>(
        each: impl Strategy<Value = T>,
    ) -> impl Strategy<Value = Option<T>> {
        proptest::option::of(each)
    }

    fn names() -> impl Strategy<Value = Vec<NameText>> {
        proptest::collection::vec(any_text().prop_map(NameText::from), 0..4)
    }

    fn certificates() -> impl Strategy<Value = ShownCertificate> {
        (some(any_text()), any_text()).prop_map(|(ca, sha256)| ShownCertificate { ca, sha256 })
    }

    fn items() -> impl Strategy<Value = Items> {
        any::<(u64, u64)>().prop_map(|(accepted, rejected)| Items { accepted, rejected })
    }

    fn parts() -> impl Strategy<Value = PartRecord> {
        let status = some(any::<u16>());
        let texts = [some(any_text()), some(any_text()), some(any_text())];
        let leg = proptest::sample::select(vec![None, Some("mirror")]);
        (names(), texts, items(), status, leg).prop_map(
            |(apps, [project, backend, destination], items, upstream_status, leg)| PartRecord {
                apps,
                project: project.map(NameText::from),
                backend: backend.map(NameText::from),
                leg,
                destination: destination.map(NameText::from),
                items,
                reason: Reason::NotSent,
                upstream_status,
            },
        )
    }

    fn callers() -> impl Strategy<Value = Who> {
        let texts = (any_text(), any_text(), some(any_text()));
        let more = (some(principals()), some(facts()));
        (texts, some(certificates()), more).prop_map(
            |((issuer, subject, claim), certificate, (aws, facts))| Who {
                method: "oidc",
                issuer: issuer.into(),
                subject: subject.into(),
                subject_claim: claim.map(NameText::from),
                certificate,
                aws: aws.map(Box::new),
                facts: facts.map(Box::new),
            },
        )
    }

    fn principals() -> impl Strategy<Value = AwsPrincipal> {
        (any_text(), any_text(), some(any_text())).prop_map(|(account, id, session)| AwsPrincipal {
            account: account.into(),
            unique_id: id.into(),
            session: session.map(NameText::from),
        })
    }

    fn facts() -> impl Strategy<Value = WhoFacts> {
        let texts = (some(any_text()), some(any_text()), any::<bool>());
        let claims = proptest::collection::vec((any_text(), any_text()), 0..3);
        (names(), names(), claims, texts).prop_map(
            |(groups, dns, claims, (spiffe, x509_subject, cut))| WhoFacts {
                groups,
                claims: claims
                    .into_iter()
                    .map(|(claim, value)| ClaimFact {
                        claim: claim.into(),
                        value: value.into(),
                    })
                    .collect(),
                spiffe: spiffe.map(Into::into),
                dns,
                x509_subject: x509_subject.map(Into::into),
                cut,
            },
        )
    }

    fn records() -> impl Strategy<Value = Record> {
        let events = proptest::sample::select(EventName::ALL);
        let own = (
            any::<[u64; 4]>(),
            any_text(),
            any_text(),
            any_text(),
            events,
        );
        let names_of = proptest::collection::vec(some(any_text()), 9);
        let about = (
            some(callers()),
            some(certificates()),
            names(),
            some(items()),
        );
        let statuses = any::<[Option<u16>; 3]>();
        let parts = proptest::collection::vec(parts(), 0..3);
        (own, names_of, about, statuses, parts).prop_map(
            |((numbers, time, id, version, event), texts, about, statuses, parts)| {
                let [seq, bytes_in, bytes_out, duration_us] = numbers;
                let [status, grpc_status, upstream_status] = statuses;
                let name = |place: usize| texts[place].clone().map(NameText::from);
                Record {
                    seq,
                    time,
                    request_id: id,
                    event,
                    listener: texts[0].clone(),
                    client_address: texts[1].clone(),
                    identity: about.0,
                    certificate: about.1,
                    http_method: name(2),
                    path: texts[3].clone().map(Into::into),
                    operation: name(4),
                    app: name(5),
                    project: name(6),
                    backend: name(8),
                    decision: status.map(|_| "allow"),
                    reason: Reason::Ok,
                    detail: texts[7].clone().map(Into::into),
                    bindings: about.2,
                    policy_version: version,
                    status,
                    grpc_status,
                    upstream_status,
                    bytes_in,
                    bytes_out,
                    items: about.3,
                    parts,
                    duration_us,
                }
            },
        )
    }

    proptest! {
        /// Scenario: any record. Guarantees: the line is what serde makes of it.
        #[test]
        fn a_line_is_what_serde_makes_of_a_record(record in records()) {
            let mut line = Vec::new();
            write(&record, &mut line);
            prop_assert_eq!(String::from_utf8(line).unwrap(), serde_json::to_string(&record).unwrap());
        }
    }
}
