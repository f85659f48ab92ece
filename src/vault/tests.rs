//! Leases that outlive the tokens they were lent from.
//!
//! What it does: replaces a project's tokens while one is lent, and looks which is lent after a refusal. What it refuses to
//! know: where tokens come from. Invariant: a line is a step of a rotation.

use super::*;

const NOW: UnixMillis = UnixMillis(1_700_000_000_000);

fn tokens(values: &[&str]) -> Arc<ProjectTokens> {
    let held = values.iter().map(|value| {
        Arc::new(HeldToken {
            secret: Arc::new(Secret::new(value.as_bytes().to_vec()).unwrap()),
            exports: [None, None, None],
            uses: AtomicU64::new(0),
        })
    });
    Arc::new(ProjectTokens {
        list: held.collect(),
        preferred: AtomicUsize::new(0),
        retry_first_at: AtomicI64::new(i64::MIN),
        successor: OnceLock::new(),
    })
}

/// Scenario: a token is lent, the project's tokens are replaced some times, and the backend refuses the token.
/// Guarantees: the next lease is on what serves now; on nothing only where nothing else does.
#[test]
fn a_refused_token_is_followed_by_what_serves_now() {
    let rows: [(&[&[&str]], Option<&str>); 7] = [
        (&[&["first"]], None),
        (&[&["first", "zeroth"]], Some("zeroth")),
        (&[&["first"], &["second", "first"]], Some("second")),
        (
            &[&["first", "zeroth"], &["second", "first"]],
            Some("second"),
        ),
        (
            &[&["first"], &["second", "first"], &["third", "second"]],
            Some("third"),
        ),
        (&[&["first", "zeroth"], &["first"]], None),
        (&[&["first"], &["first", "zeroth"]], Some("zeroth")),
    ];
    for (steps, expected) in rows {
        let lists: Vec<Arc<ProjectTokens>> = steps.iter().map(|values| tokens(values)).collect();
        let lease = Lease::mint_token(&lists[0], 0).unwrap();
        for (one, next) in lists.iter().zip(lists.iter().skip(1)) {
            one.successor.get_or_init(|| next.clone());
        }
        let next = lease.refused(NOW);
        let value = next.as_ref().map(|lease| lease.secret().expose());
        assert_eq!(value, expected.map(str::as_bytes), "{steps:?}");
    }
}
