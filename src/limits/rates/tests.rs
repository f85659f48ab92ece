//! Rates and shares under a clock of the tests' own. What it refuses to know: the gateway.

use super::*;

fn rate(text: &str) -> Rate {
    Rate::parse(text).unwrap()
}

#[test]
fn rates_have_one_spelling() {
    for (text, expected) in [
        ("100/s", Some((100, 1))),
        ("60/min", Some((60, 60))),
        ("600/h", Some((600, 3600))),
        ("0/s", None),
        ("-1/s", None),
        ("+1/s", None),
        ("1.5/s", None),
        ("1/day", None),
        ("1 /s", None),
        ("1000001/s", None),
        ("99999999999999/s", None),
        ("/s", None),
        ("s", None),
    ] {
        let read = Rate::parse(text).map(|rate| (rate.count, rate.per.as_secs()));
        assert_eq!(read, expected, "{text}");
    }
}

proptest::proptest! {
    /// Scenario: one caller hammers, others come one after the other and ask steadily, each less than its share; any
    /// class. Guarantees: every modest call is admitted, all together stay within rate and stock, and what the
    /// modest leave, the greedy one gets.
    #[test]
    fn nobody_starves_and_the_limit_holds(
        class in proptest::sample::select(vec!["100/s", "15/s", "600/h", "60/min", "60/h"]),
        modest in 1_usize..7,
        pressure in 2_usize..6,
        seed in 0_u64..1000,
    ) {
        let rate = rate(class);
        let rates = Rates::default();
        // All seats, the reserve's too.
        let seats = (modest + 2) as f64;
        let pause = (seats / rate.per_milli() / 0.9).ceil() as i64;
        let end = pause * 12;
        let step = (1.0 / rate.per_milli() / pressure as f64).max(1.0) as i64;
        let mut due: Vec<i64> = (0..modest).map(|who| pause * (who as i64 + 1) + (seed as i64 * 7) % pause).collect();
        let (mut greedy, mut admitted, mut refused) = (0_u64, 0_u64, Vec::new());
        let mut at = 0;
        while at < end {
            let now = UnixMillis(1_000_000 + at);
            for (who, due) in due.iter_mut().enumerate() {
                while *due <= at {
                    *due += pause;
                    match rates.take("c", rate, &format!("modest {who}"), now) {
                        Ok(_) => admitted += 1,
                        Err(_) => refused.push((who, at)),
                    }
                }
            }
            greedy += u64::from(rates.take("c", rate, "greedy", now).is_ok());
            at += step;
        }
        assert!(refused.is_empty(), "{refused:?}");
        let total = (greedy + admitted) as f64;
        let most = rate.per_milli() * end as f64 + rate.stock(modest + 1);
        assert!(total <= most + 1.0, "{total} of {most}");
        let least = rate.per_milli() * end as f64 * 0.9 - seats;
        assert!(total >= least, "{total}, at least {least}");
    }
}

/// Scenario: the backend knows better. Guarantees: row by row how much is admitted at once, and when again.
#[test]
fn the_backend_lowers_what_is_left_and_never_raises_it() {
    let told = |limit, remaining, reset_seconds| {
        Some(Told {
            limit,
            remaining,
            reset_seconds,
        })
    };
    let burst = |rates: &Rates, now| {
        (0..1000)
            .take_while(|_| {
                rates
                    .take("c", rate("100/s"), "who", UnixMillis(now))
                    .is_ok()
            })
            .count()
    };
    // What is said first, what then, what is admitted after it at once, and a second later.
    let cases: &[(Option<Told>, Option<Told>, usize, usize)] = &[
        (None, None, 87, 100),
        (told(Some(100), 3, 5), None, 3, 0),
        (told(Some(100), 0, 5), None, 0, 0),
        (told(Some(100), 3, 1), None, 3, 100),
        (told(None, 5000, 5), None, 87, 100),
        (told(Some(5000), 5000, 5), None, 87, 100),
        // Out of order: the lower word counts.
        (told(None, 2, 9), told(None, 40, 9), 2, 0),
        (told(None, 40, 9), told(None, 2, 9), 2, 0),
        (told(Some(10), 5000, 1), None, 9, 10),
        (told(Some(0), 5000, 1), None, 87, 100),
        // An hour's limit of something else.
        (told(Some(60), 0, 3000), None, 87, 100),
    ];
    for (first, then, at_once, later) in cases {
        let rates = Rates::default();
        let now = 1_000_000;
        assert!(
            rates
                .take("c", rate("100/s"), "who", UnixMillis(now))
                .is_ok()
        );
        for told in [first, then].into_iter().flatten() {
            rates.corrected("c", *told, UnixMillis(now));
        }
        let admitted = burst(&rates, now);
        assert!(
            admitted.abs_diff(*at_once) <= 1,
            "{first:?} {then:?}: {admitted}"
        );
        let admitted = burst(&rates, now + 1000);
        assert!(
            admitted.abs_diff(*later) <= 1,
            "{first:?} {then:?}, later: {admitted}"
        );
    }
    let rates = Rates::default();
    assert!(rates.take("c", rate("100/s"), "who", UnixMillis(0)).is_ok());
    rates.emptied("c", 7, UnixMillis(0));
    let refused = rates
        .take("c", rate("100/s"), "who", UnixMillis(2500))
        .unwrap_err();
    assert_eq!((refused.remaining, refused.reset_seconds), (0, 5));
    assert!(
        rates
            .take("c", rate("100/s"), "who", UnixMillis(7000))
            .is_ok()
    );
}

/// Scenario: more keys than there are seats, and more classes than are kept. Guarantees: both maps stay bounded,
/// and a caller without a seat is still served in time.
#[test]
fn keys_and_classes_are_bounded() {
    let rates = Rates::default();
    for number in 0..3000 {
        let _ = rates.take(
            "c",
            rate("100/s"),
            &format!("who {number}"),
            UnixMillis(1000),
        );
        let _ = rates.take(
            &format!("class {}", number % 100),
            rate("100/s"),
            "who",
            UnixMillis(1000),
        );
    }
    let _ = rates.take("c", rate("100/s"), "late", UnixMillis(1000));
    let classes = rates.classes();
    assert!(classes.len() <= CLASSES_LIMIT_ENTRIES);
    assert!(
        classes
            .values()
            .all(|class| class.seats.len() <= SEATS_LIMIT_ENTRIES + 1)
    );
    drop(classes);
    let served = (0..100).any(|tenth| {
        rates
            .take("c", rate("100/s"), "late", UnixMillis(1000 + tenth * 100))
            .is_ok()
    });
    assert!(served);
}

/// Scenario: so many callers come for the first time within so many milliseconds, each with one question; those who find
/// nothing ask for their turn. Guarantees: none is refused; no caller waits while the stock lasts, and none longer than
/// `TURN_LIMIT`; all together stay within rate and stock.
#[test]
fn newcomers_get_their_turn() {
    for (class, count, within, may_wait) in [
        ("100/s", 45, 400, false),
        ("100/s", 45, 1, false),
        ("100/s", 150, 400, true),
        ("15/s", 20, 100, true),
    ] {
        let (rate, rates) = (rate(class), Rates::default());
        // When each asks next.
        let mut due: Vec<(i64, usize)> = (0..count)
            .map(|who| (who as i64 * within / count as i64, who))
            .collect();
        let (mut waited, mut last) = (0, 0);
        while !due.is_empty() {
            due.sort_unstable();
            let (at, who) = due.remove(0);
            let (now, name) = (UnixMillis(1_000_000 + at), format!("who {who}"));
            last = at;
            if rates.take("c", rate, &name, now).is_ok() {
                continue;
            }
            let came = who as i64 * within / count as i64;
            let is_first = at == came;
            let turn = rates
                .turn("c", &name, now, is_first)
                .unwrap_or_else(|| panic!("{class}: {name} at {at} is refused"));
            waited += usize::from(is_first);
            due.push((at + i64::try_from(turn.as_millis()).unwrap().max(1), who));
            assert!(
                at - came <= TURN_LIMIT.as_millis() as i64,
                "{class}: {name} waits since {came}, at {at}"
            );
        }
        assert_eq!(waited > 0, may_wait, "{class}: {waited} of {count} waited");
        let most = rate.per_milli() * last as f64 + rate.stock(count);
        assert!(
            count as f64 <= most + 1.0,
            "{class}: {count} within {last} ms, {most}"
        );
    }
}

/// Scenario: a caller that was served asks beyond the share, a newcomer has a second question, one that waits already asks again.
/// Guarantees: none of these waits; they are told when to come again.
#[test]
fn turns_are_for_first_questions() {
    let (rate, rates) = (rate("10/s"), Rates::default());
    let now = UnixMillis(1_000_000);
    while rates.take("c", rate, "greedy", now).is_ok() {}
    assert_eq!(rates.turn("c", "greedy", now, true), None);
    assert_eq!(rates.turn("c", "unknown", now, true), None);
    assert_eq!(rates.turn("unknown", "greedy", now, true), None);
    let newcomers: Vec<String> = (0..10).map(|number| format!("who {number}")).collect();
    let waiting = newcomers
        .iter()
        .find(|who| rates.take("c", rate, who, now).is_err())
        .unwrap();
    assert!(
        rates
            .turn("c", waiting, now, true)
            .is_some_and(|turn| !turn.is_zero() && turn <= TURN_LIMIT)
    );
    assert_eq!(
        rates.turn("c", waiting, now, true),
        None,
        "its other questions do not wait"
    );
    assert!(
        rates.turn("c", waiting, now, false).is_some(),
        "the one that waits looks again"
    );
    let later = UnixMillis(now.0 + TURN_LIMIT.as_millis() as i64);
    assert!(
        rates.turn("c", waiting, later, true).is_some(),
        "the one that waited has gone"
    );
    // The backend admits no question.
    rates.emptied("c", 5, later);
    assert_eq!(rates.turn("c", waiting, later, false), None);
}
