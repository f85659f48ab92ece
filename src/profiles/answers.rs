//! What a backend's answers to exports mean, where they mean something else than the OTLP specification says.
//!
//! What it does: reads `ingest.answers` of a profile, and says of a status or a gRPC code which of five things it means. What it
//! refuses to know: what is done about it. Invariants: each status means one thing; what no list has and the specification
//! leaves open is `Other`, and is judged where answers are read.

use schemars::JsonSchema;
use serde::Deserialize;

use super::fault::{PlacedFault, ProfileFault};
use crate::document::Spanned;

/// What an answer to an export means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum AnswerMeaning {
    /// The backend has the export.
    Success,
    /// It refuses our credential: our fault, and none of the caller's.
    CredentialRefused,
    /// The export is larger than it takes.
    TooLarge,
    /// It may be tried again.
    Again,
    #[default]
    Other,
}

/// What each status and gRPC code means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answers {
    /// From 100 on.
    http: Vec<AnswerMeaning>,
    grpc: [AnswerMeaning; GRPC_CODES],
}

const FIRST_STATUS: u16 = 100;
const STATUSES: usize = 500;
/// gRPC, "Status codes and their use".
const GRPC_CODES: usize = 17;

/// What answers mean; a list stands instead of what the specification has in its place.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Answers")]
pub(super) struct RawAnswers {
    /// Statuses by which the backend says that it has the export; default: every 2xx.
    pub success: Option<Vec<Spanned<u16>>>,
    /// By which it refuses our credential: the caller is told to come again, and an alarm is raised; default: 401, 403.
    pub credential_refused: Option<Vec<Spanned<u16>>>,
    /// By which it says that the export is too large; default: 413.
    pub too_large: Option<Vec<Spanned<u16>>>,
    /// By which it says that the export may be tried again; default: 429, 502, 503, 504.
    pub again: Option<Vec<Spanned<u16>>>,
    /// The same for codes of gRPC.
    #[serde(default)]
    pub grpc: RawGrpcAnswers,
}

/// What codes of gRPC mean, besides `OK`.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "GrpcAnswers")]
pub(super) struct RawGrpcAnswers {
    /// Default: UNAUTHENTICATED, PERMISSION_DENIED.
    pub credential_refused: Option<Vec<Spanned<RawCode>>>,
    /// Default: RESOURCE_EXHAUSTED, unless it says when to come again.
    pub too_large: Option<Vec<Spanned<RawCode>>>,
    /// Default: CANCELLED, DEADLINE_EXCEEDED, ABORTED, OUT_OF_RANGE, UNAVAILABLE, DATA_LOSS.
    pub again: Option<Vec<Spanned<RawCode>>>,
}

/// A code of gRPC that is no success.
#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[schemars(rename = "GrpcCode")]
pub(super) enum RawCode {
    Cancelled = 1,
    Unknown = 2,
    InvalidArgument = 3,
    DeadlineExceeded = 4,
    NotFound = 5,
    AlreadyExists = 6,
    PermissionDenied = 7,
    ResourceExhausted = 8,
    FailedPrecondition = 9,
    Aborted = 10,
    OutOfRange = 11,
    Unimplemented = 12,
    Internal = 13,
    Unavailable = 14,
    DataLoss = 15,
    Unauthenticated = 16,
}

impl Answers {
    /// What a status means.
    pub(crate) fn of_status(&self, status: u16) -> AnswerMeaning {
        let place = status.checked_sub(FIRST_STATUS).map(usize::from);
        place
            .and_then(|place| self.http.get(place))
            .copied()
            .unwrap_or_default()
    }

    /// What a code of gRPC means.
    pub(crate) fn of_code(&self, code: u16) -> AnswerMeaning {
        let meaning = self.grpc.get(usize::from(code));
        meaning.copied().unwrap_or_default()
    }

    pub(super) fn read(raw: RawAnswers, found: &mut Vec<PlacedFault>) -> Self {
        let mut answers = Answers::default();
        let lists = [
            (AnswerMeaning::Success, raw.success),
            (AnswerMeaning::CredentialRefused, raw.credential_refused),
            (AnswerMeaning::TooLarge, raw.too_large),
            (AnswerMeaning::Again, raw.again),
        ];
        let spoken = |status: &Spanned<u16>| {
            let known = match status.value {
                200..=299 | 400..=599 => Ok(usize::from(status.value - FIRST_STATUS)),
                _ => Err(ProfileFault::Status(status.value)),
            };
            known.map_err(|fault| fault.at(status))
        };
        place(&mut answers.http, lists, spoken, found);
        let raw = raw.grpc;
        let lists = [
            (AnswerMeaning::CredentialRefused, raw.credential_refused),
            (AnswerMeaning::TooLarge, raw.too_large),
            (AnswerMeaning::Again, raw.again),
        ];
        let code = |code: &Spanned<RawCode>| Ok(code.value as usize);
        place(&mut answers.grpc, lists, code, found);
        answers
    }
}

/// Puts what the lists say in the place of what stood for the same meaning.
fn place<T>(
    table: &mut [AnswerMeaning],
    lists: impl IntoIterator<Item = (AnswerMeaning, Option<Vec<Spanned<T>>>)>,
    index: impl Fn(&Spanned<T>) -> Result<usize, PlacedFault>,
    found: &mut Vec<PlacedFault>,
) {
    let lists: Vec<_> = lists
        .into_iter()
        .filter_map(|(meaning, list)| Some((meaning, list?)))
        .collect();
    for (meaning, _) in &lists {
        let stood = table.iter_mut().filter(|known| *known == meaning);
        stood.for_each(|known| *known = AnswerMeaning::Other);
    }
    let mut said: Vec<usize> = Vec::new();
    for (meaning, list) in lists {
        for at in list {
            match index(&at) {
                Ok(index) if said.contains(&index) => found.push(ProfileFault::AnswerTwice.at(&at)),
                Ok(index) => {
                    said.push(index);
                    table
                        .get_mut(index)
                        .into_iter()
                        .for_each(|known| *known = meaning);
                }
                Err(fault) => found.push(fault),
            }
        }
    }
}

impl Default for Answers {
    fn default() -> Self {
        use AnswerMeaning::{Again, CredentialRefused, Other, Success, TooLarge};
        let of_status = |place: usize| match place + usize::from(FIRST_STATUS) {
            200..=299 => Success,
            401 | 403 => CredentialRefused,
            413 => TooLarge,
            429 | 502..=504 => Again,
            _ => Other,
        };
        let of_code = |code: usize| match code {
            0 => Success,
            7 | 16 => CredentialRefused,
            8 => TooLarge,
            1 | 4 | 10 | 11 | 14 | 15 => Again,
            _ => Other,
        };
        Answers {
            http: (0..STATUSES).map(of_status).collect(),
            grpc: std::array::from_fn(of_code),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(yaml: &str) -> Result<Answers, usize> {
        let raw = crate::document::load::<RawAnswers>(std::path::Path::new("a.yaml"), yaml);
        let mut found = Vec::new();
        let answers = Answers::read(raw.map_err(|found| found.len())?, &mut found);
        if found.is_empty() {
            Ok(answers)
        } else {
            Err(found.len())
        }
    }

    /// Scenario: no list, one list, several. Guarantees: a list stands instead of the specification's, and only for its own
    /// meaning; a status in two lists, and one that answers nothing, are mistakes.
    #[test]
    fn a_list_stands_instead_of_the_specifications() {
        use AnswerMeaning::{Again, CredentialRefused, Other, Success, TooLarge};
        type Row<'a> = (&'a str, &'a [(u16, AnswerMeaning)]);
        let rows: &[Row<'_>] = &[
            (
                "{}",
                &[
                    (100, Other),
                    (200, Success),
                    (299, Success),
                    (302, Other),
                    (400, Other),
                    (401, CredentialRefused),
                    (403, CredentialRefused),
                    (413, TooLarge),
                    (429, Again),
                    (500, Other),
                    (504, Again),
                    (599, Other),
                    (600, Other),
                    (0, Other),
                ],
            ),
            (
                "success: [200, 202]",
                &[(202, Success), (204, Other), (401, CredentialRefused)],
            ),
            (
                "credential_refused: [401]",
                &[(401, CredentialRefused), (403, Other), (413, TooLarge)],
            ),
            (
                "again: [429, 403]",
                &[
                    (429, Again),
                    (403, Again),
                    (503, Other),
                    (401, CredentialRefused),
                ],
            ),
            (
                "{ too_large: [400, 413], success: [200, 409] }",
                &[(400, TooLarge), (409, Success), (201, Other)],
            ),
        ];
        for (text, expected) in rows {
            let answers = read(text).unwrap();
            for (status, meaning) in *expected {
                assert_eq!(answers.of_status(*status), *meaning, "{text}: {status}");
            }
        }
        for (text, mistakes) in [
            ("{ success: [200], again: [200] }", 1),
            ("again: [429, 429]", 1),
            ("again: [302, 99, 600]", 3),
            (
                "grpc: { again: [UNAVAILABLE], too_large: [UNAVAILABLE] }",
                1,
            ),
            ("grpc: { again: [OK] }", 1),
            ("grpc: { again: [14] }", 1),
            ("agian: [429]", 1),
        ] {
            assert_eq!(read(text).unwrap_err(), mistakes, "{text}");
        }
        let answers = read("grpc: { too_large: [INVALID_ARGUMENT], again: [INTERNAL] }").unwrap();
        for (code, meaning) in [
            (0, Success),
            (3, TooLarge),
            (8, Other),
            (13, Again),
            (14, Other),
            (16, CredentialRefused),
            (17, Other),
        ] {
            assert_eq!(answers.of_code(code), meaning, "{code}");
        }
    }
}
