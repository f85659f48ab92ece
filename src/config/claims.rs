//! `claims:` of an issuer, checked.
//!
//! What it does: names and pointers of claims, one or a list. What it refuses to know: what a token holds there.
//! Invariants: a pointer that can never name a claim is an error; one that was hardly meant is a warning.

use super::raw::RawNames;
use super::report::ConfigFindings;
use crate::document::Spanned;
use crate::identify::ClaimPath;

/// One claim's name or pointer; `None`: it was reported.
pub(crate) fn claim(
    report: &mut ConfigFindings<'_>,
    given: Option<&Spanned<String>>,
    subject: &str,
    default: &str,
) -> Option<ClaimPath> {
    let Some(given) = given else {
        return ClaimPath::parse(default).ok();
    };
    match ClaimPath::parse(&given.value) {
        Ok(path) => {
            if let Some((message, hint)) = path.doubtful() {
                report.warning(given, format!("`{subject}` {message}"), hint);
            }
            Some(path)
        }
        Err(fault) => {
            report.error_with_hint(given, format!("`{subject}` {fault}"), fault.hint());
            None
        }
    }
}

/// The claims that may name the subject, in their order.
pub(crate) fn subject_claims(
    report: &mut ConfigFindings<'_>,
    given: Option<&Spanned<RawNames>>,
    subject: &str,
) -> Vec<ClaimPath> {
    let Some(given) = given else {
        return ClaimPath::parse("sub").into_iter().collect();
    };
    let several = match &given.value {
        RawNames::One(text) => {
            let one = Spanned::new(text.clone(), given.line(), given.column());
            return claim(report, Some(&one), subject, "").into_iter().collect();
        }
        RawNames::Several(several) => several,
    };
    let mut paths: Vec<ClaimPath> = Vec::with_capacity(several.len());
    for (index, one) in several.iter().enumerate() {
        let subject = format!("{subject}[{index}]");
        let Some(path) = claim(report, Some(one), &subject, "") else {
            continue;
        };
        if paths.contains(&path) {
            report.error(one, format!("`{subject}` stands in the list already"));
        }
        paths.push(path);
    }
    paths
}
