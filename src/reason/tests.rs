//! The table of reasons holds together. What it refuses to know: which room finds a reason.

use std::collections::BTreeSet;

use super::*;

/// Scenario: a reason is added, or a row is edited. Guarantees: codes are unique, fit a metric's label and say what the variant
/// says; every reason has a meaning in whole sentences.
#[test]
fn rows_are_unique_and_whole() {
    let mut seen = BTreeSet::new();
    for reason in Reason::ALL {
        let code = reason.code();
        assert!(seen.insert(code), "{code} stands twice");
        assert!(
            code.bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_'),
            "{code}"
        );
        assert_eq!(format!("{reason:?}").to_lowercase(), code.replace('_', ""));
        assert!(
            reason.meaning().ends_with('.') && reason.meaning().len() > 15,
            "{code}"
        );
        assert!(
            reason.advice().is_empty() || reason.advice().ends_with('.'),
            "{code}"
        );
    }
    assert!(seen.len() > 180);
}

/// Guarantees: a reason is written the same in records and in words.
#[test]
fn codes_are_written_in_one_way() {
    for reason in Reason::ALL {
        assert_eq!(serde_json::to_value(reason).unwrap(), reason.code());
        assert_eq!(reason.to_string(), reason.code());
    }
}

/// Guarantees: exporters drop data only for what they or the backend say is wrong with it; what is the gateway's, the
/// operator's or the provider's fault is answered with a status that makes them come again. Two denials fail closed for a
/// defect of the gateway.
#[test]
fn only_the_callers_faults_are_final() {
    for reason in Reason::ALL {
        let Some(class) = reason.class() else {
            continue;
        };
        let (blame, code) = (reason.blame(), reason.code());
        assert_ne!(blame, Blame::Nothing, "{code}");
        if class.is_callers() {
            let defect = matches!(reason, Reason::OperationUnknown | Reason::EvaluationError);
            let theirs = matches!(blame, Blame::Caller | Blame::Connection | Blame::Backend);
            assert!(theirs || defect, "{code}");
            // What the backend says of a call, or an end of the connection, is no fault that a penalty counts.
            let spared = matches!(blame, Blame::Backend | Blame::Connection);
            assert_eq!(
                spared,
                code.starts_with("upstream_") || matches!(code, "client_closed" | "head_truncated"),
                "{code}"
            );
        } else {
            assert!(
                !matches!(blame, Blame::Caller | Blame::Connection),
                "{code}"
            );
            assert!(class.is_retryable(), "{code}");
        }
    }
}
