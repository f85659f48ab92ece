//! `aws:`, checked.
//!
//! What it does: accounts, partitions, regions and the audience of signed calls to AWS. What it refuses to know: how one is
//! judged. Invariants: a signature can be meant for one entry only; an audience is never the name of a cluster, so that no
//! token for EKS counts here and none for us opens a cluster.

use std::time::Duration;

use super::egress::{own, route};
use super::issuer_parts::{issuer_name, proven_attributes};
use super::limits::duration_between;
use super::raw::{RawAws, RawIssuer, RawSwitch};
use super::report::{ConfigFindings, Content};
use crate::document::{Spanned, name, names, nearest};
use crate::egress::{Egress, host_and_port};
use crate::identify::{
    AwsAttributeSource, AwsSettings, AwsWord, StsEndpoints, has_dual_stack, has_fips,
    has_global_endpoint, is_account, is_region_of, partitions,
};

/// STS's own bound on the age of a signature.
const AGE_LIMIT: Duration = Duration::from_secs(900);
/// The longest audience, in bytes.
const AUDIENCE_LIMIT_BYTES: usize = 255;

/// `issuers`: those of tokens, whose names are taken.
pub(crate) fn accounts(
    report: &mut ConfigFindings<'_>,
    raw: &[RawAws],
    issuers: &[RawIssuer],
    egress: &Egress,
) -> Vec<AwsSettings> {
    let mut checked: Vec<AwsSettings> = Vec::new();
    for (index, written) in raw.iter().enumerate() {
        let Some(settings) = one(report, index, written, egress) else {
            continue;
        };
        let is_taken = issuers
            .iter()
            .any(|issuer| issuer.name.value == settings.name)
            || checked.iter().any(|other| other.name == settings.name);
        if is_taken {
            let message = format!("two issuers are named {}", name(&settings.name));
            report.error(&written.name, message);
        }
        let hosts = settings.hosts();
        let shared = checked.iter().find_map(|other| {
            let theirs = other.hosts();
            let host = hosts.iter().find(|host| theirs.contains(host))?;
            Some((other.name.clone(), host.host.clone()))
        });
        if let (Some((other, host)), Some(at)) = (shared, written.regions.first()) {
            let message = format!(
                "{} already takes signatures for {}",
                name(&other),
                name(&host)
            );
            let hint = "a signature must be meant for exactly one entry: join the two, with all their accounts";
            report.error_with_hint(at, message, hint);
        }
        checked.push(settings);
    }
    checked
}

fn one(
    report: &mut ConfigFindings<'_>,
    index: usize,
    raw: &RawAws,
    egress: &Egress,
) -> Option<AwsSettings> {
    let subject = |key: &str| format!("aws[{index}].{key}");
    let own_name = issuer_name(report, &raw.name, &subject("name"));
    audience(report, &raw.audience, &subject("audience"));
    for (place, account) in raw.accounts.iter().enumerate() {
        if !is_account(&account.value) {
            let message = format!("`{}[{place}]` must be twelve digits", subject("accounts"));
            report.error_with_hint(account, message, "write it in quotes: `\"123456789012\"`");
        }
    }
    let partition = partition(report, raw.partition.as_ref(), &subject("partition"));
    for (place, region) in raw.regions.iter().enumerate() {
        if !is_region_of(partition, &region.value) {
            let what = format!("{}[{place}]", subject("regions"));
            let message = format!("`{what}` is no region of the partition `{partition}`");
            let hint = "write it like `eu-west-1`; regions of other partitions are another entry";
            report.error_with_hint(region, message, hint);
        }
    }
    let endpoints = endpoints(report, raw, index, partition);
    let max_age = duration_between(
        report,
        raw.max_age.as_ref(),
        &subject("max_age"),
        AGE_LIMIT,
        Duration::from_secs(60)..=AGE_LIMIT,
    );
    let cache = duration_between(
        report,
        raw.cache.as_ref(),
        &subject("cache"),
        Duration::from_secs(300),
        Duration::from_secs(10)..=AGE_LIMIT,
    );
    let connect = connect(report, raw.connect.as_ref(), &subject("connect"));
    let ca = match &raw.ca {
        Some(given) => Some(report.path(given, &subject("ca"), Content::Trust)?),
        None => None,
    };
    let egress = own(report, egress, raw.proxy.as_ref(), &format!("aws[{index}]"));
    let texts = |given: &[Spanned<String>]| given.iter().map(|one| one.value.clone()).collect();
    let settings = AwsSettings {
        name: own_name?,
        audience: raw.audience.value.clone(),
        accounts: texts(&raw.accounts),
        partition: partition.to_owned(),
        regions: texts(&raw.regions),
        endpoints,
        max_age,
        cache,
        connect,
        ca,
        egress,
        calls_per_second: raw.calls_per_second.unwrap_or(50),
        concurrent_calls: raw.concurrent.unwrap_or(16),
        attributes: attributes(report, raw, index),
    };
    if let (Some(first), Some(at)) = (settings.hosts().first(), raw.regions.first()) {
        let (host, port) = settings
            .connect
            .clone()
            .unwrap_or_else(|| (first.host.clone(), 443));
        route(report, &settings.egress, at, (true, &host, port));
    }
    Some(settings)
}

fn attributes(
    report: &mut ConfigFindings<'_>,
    raw: &RawAws,
    index: usize,
) -> Vec<AwsAttributeSource> {
    let whole = format!("aws[{index}].attributes_from");
    proven_attributes(
        report,
        &raw.attributes_from,
        &whole,
        |report, key, written| {
            let word = written.value.as_str();
            let known = AwsWord::ALL.map(AwsWord::name);
            let Some(word) = AwsWord::named(word) else {
                let message = format!("`{whole}.{key}` is nothing that AWS tells of a caller");
                let hint = format!("there are {}", names(known));
                report.error_with_hint(written, message, hint);
                return None;
            };
            let name = key.into();
            Some(AwsAttributeSource { name, word })
        },
    )
}

fn audience(report: &mut ConfigFindings<'_>, at: &Spanned<String>, subject: &str) {
    let text = at.value.as_str();
    let is_sent = (1..=AUDIENCE_LIMIT_BYTES).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_graphic());
    let hint = "write the gateway's own name, like `lightkeeper:gateway.acme.example`";
    if !is_sent {
        let message = format!(
            "`{subject}` must be 1 to {AUDIENCE_LIMIT_BYTES} printable ASCII characters without spaces"
        );
        report.error_with_hint(at, message, hint);
    } else if !text.contains(':') {
        let message = format!(
            "`{subject}` must contain a `:`: without one it could be the name of an EKS cluster, whose tokens would count here, \
             and ours there"
        );
        report.error_with_hint(at, message, hint);
    }
}

/// The known partition that was written, or `aws`.
fn partition(
    report: &mut ConfigFindings<'_>,
    given: Option<&Spanned<String>>,
    subject: &str,
) -> &'static str {
    let standard = "aws";
    let Some(given) = given else { return standard };
    if let Some(known) = partitions().find(|known| *known == given.value) {
        return known;
    }
    let hint = match nearest(&given.value, partitions()) {
        Some(word) => format!("did you mean {}?", name(word)),
        None => format!("there are {}", names(partitions())),
    };
    report.error_with_hint(given, format!("`{subject}` is no partition of AWS"), hint);
    standard
}

fn endpoints(
    report: &mut ConfigFindings<'_>,
    raw: &RawAws,
    index: usize,
    partition: &str,
) -> StsEndpoints {
    let mut on = |given: &Option<Spanned<RawSwitch>>, key: &str, is_there: bool| {
        let Some(given) = given.as_ref().filter(|given| given.value.0) else {
            return false;
        };
        if !is_there {
            let message =
                format!("`aws[{index}].{key}`: the partition `{partition}` has no such endpoint");
            report.error_with_hint(given, message, "leave it out");
        }
        is_there
    };
    StsEndpoints {
        global: on(
            &raw.global_endpoint,
            "global_endpoint",
            has_global_endpoint(partition),
        ),
        fips: on(&raw.fips, "fips", has_fips(partition)),
        dual_stack: on(&raw.dual_stack, "dual_stack", has_dual_stack(partition)),
    }
}

fn connect(
    report: &mut ConfigFindings<'_>,
    given: Option<&Spanned<String>>,
    subject: &str,
) -> Option<(String, u16)> {
    let given = given?;
    let read = host_and_port(&given.value).and_then(|(host, port)| Some((host, port?)));
    if read.is_none() {
        report.error_with_hint(
            given,
            format!("`{subject}` must be a host and a port"),
            "write it like `vpce-0123.sts.eu-west-1.vpce.amazonaws.com:443`",
        );
    }
    read
}
