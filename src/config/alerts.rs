//! `alerts:`, as it is written and checked.
//!
//! What it does: the destinations to which alerts may be passed on, and how the backend's messages are read. What it
//! refuses to know: which app uses which destination (the policy says that), and the secrets. Invariants: a destination
//! is `https`, or on loopback; neither a URL nor what stands in a secret's place reaches a message.

use std::time::Duration;

use http::HeaderName;
use schemars::JsonSchema;
use serde::Deserialize;

use super::egress::{own, route};
use super::limits::{duration_between, hours};
use super::raw::{RawProxy, RawSecret};
use super::report::{ConfigFindings, Content};
use super::vault::{reference, secret};
use crate::document::quantity::RawDuration;
use crate::document::{Entries, Spanned, name};
use crate::egress::Egress;
use crate::forward::{DestinationHeader, DestinationSettings, DestinationUrl, PostAddress};
use crate::state::{AlertFieldSettings, AlertSettings};

/// The longest JSON pointer, in bytes.
const POINTER_LIMIT_BYTES: usize = 256;

/// What becomes of the backend's alerts.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Alerts")]
pub struct RawAlerts {
    /// Where apps may have their alerts passed on to, by a name that policies use.
    #[serde(default)]
    pub destinations: Entries<RawDestination>,
    /// How long a message that was passed on is remembered, so that it is not passed on twice, and how old one may be
    /// that says its time; from `1m` to `1h`, default `10m`.
    pub replay_window: Option<Spanned<RawDuration>>,
    /// Where the backend's messages say what; default: the profile's.
    #[serde(default)]
    pub fields: RawAlertFields,
}

/// Where alerts are passed on to.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Destination", extend("x-hint" = "write `oncall: { url: https://… }`"))]
pub struct RawDestination {
    /// `https://…`; or else `url_from`.
    pub url: Option<Spanned<String>>,
    /// Where the URL is kept, if it is itself a secret.
    pub url_from: Option<Spanned<RawSecret>>,
    /// PEM file: the roots to trust; default: the system's.
    pub ca: Option<Spanned<String>>,
    /// The proxy to this destination alone; default: as `egress` has it.
    pub proxy: Option<Spanned<RawProxy>>,
    /// The header by which the destination knows us.
    pub header: Option<RawDestinationHeader>,
}

/// A header with a secret in it.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "DestinationHeader")]
pub struct RawDestinationHeader {
    /// Its name, `authorization`.
    pub name: Spanned<String>,
    /// What stands before the secret and a space, `Bearer`; default: nothing.
    pub scheme: Option<Spanned<String>>,
    /// Where the secret is kept.
    pub secret: Spanned<RawSecret>,
}

/// JSON pointers (RFC 6901) into the backend's messages.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "AlertFields")]
pub struct RawAlertFields {
    /// What tells one alert of the app from another.
    pub id: Option<Spanned<String>>,
    /// What people call it.
    pub name: Option<Spanned<String>>,
    /// What has become of it.
    pub state: Option<Spanned<String>>,
    /// When: RFC 3339, or Unix seconds or milliseconds.
    pub time: Option<Spanned<String>>,
}

pub fn alerts(report: &mut ConfigFindings<'_>, raw: &RawAlerts, egress: &Egress) -> AlertSettings {
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

fn header(
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
