//! `alerts:`, checked.
//!
//! What it does: the destinations to which alerts may be passed on, and how the backend's messages are read. What it
//! refuses to know: which app uses which destination (the policy says that), and the secrets. Invariants: a destination
//! is `https`, or on loopback; neither a URL nor what stands in a secret's place reaches a message.

use std::time::Duration;

use http::HeaderName;

use super::egress::{own, route};
use super::limits::{duration_between, hours};
use super::raw::{RawAlerts, RawDestination, RawDestinationHeader};
use super::report::{ConfigFindings, Content};
use super::vault::{reference, secret};
use crate::document::{Spanned, name};
use crate::egress::Egress;
use crate::forward::{DestinationHeader, DestinationSettings, DestinationUrl, PostAddress};
use crate::state::{AlertFieldSettings, AlertSettings};

/// The longest JSON pointer, in bytes.
const POINTER_LIMIT_BYTES: usize = 256;

pub(crate) fn alerts(
    report: &mut ConfigFindings<'_>,
    raw: &RawAlerts,
    egress: &Egress,
) -> AlertSettings {
    let mut destinations = Vec::new();
    for (key, given) in &raw.destinations {
        let own_name = report.own_name(key, "alerts.destinations.…");
        let checked = destination(report, key, given);
        let subject = format!("alerts.destinations.{}", key.value);
        let egress = own(report, egress, given.proxy.as_ref(), &subject);
        if let Some(url) = &given.url
            && let Ok(address) = PostAddress::parse(&url.value)
        {
            route(
                report,
                &egress,
                url,
                (address.tls, &address.host, address.port),
            );
        }
        if let (Some(name), Some((url, ca, header))) = (own_name, checked) {
            destinations.push(DestinationSettings {
                name,
                url,
                ca,
                header,
                egress,
            });
        }
    }
    let minute = Duration::from_secs(60);
    let replay_window = duration_between(
        report,
        raw.replay_window.as_ref(),
        "alerts.replay_window",
        AlertSettings::default().replay_window,
        minute..=hours(1),
    );
    let mut pointer = |given: &Option<Spanned<String>>, key: &str| {
        let given = given.as_ref()?;
        let pointer = given.value.as_str();
        if pointer.starts_with('/')
            && pointer.len() <= POINTER_LIMIT_BYTES
            && !pointer.contains(char::is_control)
        {
            return Some(pointer.to_owned());
        }
        let message = format!("`alerts.fields.{key}` is no JSON pointer");
        report.error_with_hint(given, message, "write it like `/alert/name` (RFC 6901)");
        None
    };
    let fields = AlertFieldSettings {
        id: pointer(&raw.fields.id, "id"),
        name: pointer(&raw.fields.name, "name"),
        state: pointer(&raw.fields.state, "state"),
        time: pointer(&raw.fields.time, "time"),
    };
    AlertSettings {
        destinations,
        replay_window,
        fields,
    }
}

type Parts = (
    DestinationUrl,
    Option<std::path::PathBuf>,
    Option<DestinationHeader>,
);

fn destination(
    report: &mut ConfigFindings<'_>,
    key: &Spanned<String>,
    raw: &RawDestination,
) -> Option<Parts> {
    let subject = |part: &str| format!("alerts.destinations.{}.{part}", key.value);
    let url = match (&raw.url, &raw.url_from) {
        (Some(url), None) => match PostAddress::parse(&url.value) {
            Ok(_) => Some(DestinationUrl::Written(url.value.clone())),
            Err(fault) => {
                let hint = "write it like `https://hooks.example/lightkeeper`";
                report.error_with_hint(url, format!("`{}` {fault}", subject("url")), hint);
                None
            }
        },
        (None, Some(from)) => reference(report, from, &subject("url_from"), Content::SecretUrl)
            .map(DestinationUrl::From),
        (Some(at), Some(_)) => {
            let message = format!("{} has both `url` and `url_from`", name(&key.value));
            report.error_with_hint(at, message, "leave one of them out");
            None
        }
        (None, None) => {
            let hint = "add `url: https://…`, or `url_from: { file: path }` if the URL is a secret";
            report.error_with_hint(
                key,
                format!("destination {} has no `url`", name(&key.value)),
                hint,
            );
            None
        }
    };
    let ca = raw
        .ca
        .as_ref()
        .map(|ca| report.path(ca, &subject("ca"), Content::Trust));
    let header = raw
        .header
        .as_ref()
        .map(|given| header(report, given, &subject("header")));
    let ca = match ca {
        Some(checked) => Some(checked?),
        None => None,
    };
    let header = match header {
        Some(checked) => Some(checked?),
        None => None,
    };
    Some((url?, ca, header))
}

/// A header with a secret, checked. `None`: reported.
pub(super) fn header(
    report: &mut ConfigFindings<'_>,
    raw: &RawDestinationHeader,
    subject: &str,
) -> Option<DestinationHeader> {
    let parsed = HeaderName::from_bytes(raw.name.value.as_bytes()).ok();
    let named =
        parsed.filter(|parsed| DestinationHeader::may_be(parsed) && !raw.name.value.contains('_'));
    if named.is_none() {
        let hint =
            "a header's name, such as `authorization`, that the gateway does not write itself";
        report.error_with_hint(
            &raw.name,
            format!("`{subject}.name` is not a header that can be set"),
            hint,
        );
    }
    let word = |text: &str| {
        (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
    };
    let scheme = raw.scheme.as_ref().map(|given| {
        if !word(&given.value) {
            report.error_with_hint(
                given,
                format!("`{subject}.scheme` is not one word"),
                "write it like `Bearer`",
            );
        }
        given.value.clone()
    });
    let secret = secret(report, &raw.secret, &format!("{subject}.secret"));
    Some(DestinationHeader {
        name: named?,
        scheme,
        secret: secret?,
    })
}
