//! Live numbers: what is counted for which app, and their bounds. What it refuses to know: who looks at them.

use super::*;
use crate::identify::Method;

fn app(text: &str) -> AppPath {
    AppPath::parse(text).unwrap()
}

fn sender(subject: &str) -> Facts {
    Facts::bare(Method::Oidc, "okta", subject, 0)
}

fn second(second: i64) -> UnixMillis {
    UnixMillis(second * 1000)
}

/// Scenario: exports at given seconds, and a look at another. Guarantees that exactly the last 60 seconds count.
#[test]
fn the_last_minute_is_what_counts() {
    for (came, look, items) in [
        (vec![], 100, None),
        (vec![100], 100, Some(1)),
        (vec![100], 159, Some(1)),
        (vec![100], 160, Some(0)),
        (vec![100, 100, 130, 159], 159, Some(4)),
        (vec![100, 160], 160, Some(1)),
        (vec![100, 159, 161], 161, Some(2)),
        // A clock that was set back: what lies ahead does not count yet.
        (vec![200, 150], 150, Some(1)),
        (vec![-5, 0, 3], 3, Some(3)),
    ] {
        let stats = LiveStats::default();
        for at in &came {
            let beat = StatsUpdate {
                items: 1,
                bytes: 10,
                ..StatsUpdate::default()
            };
            stats.accepted(&app("shop"), &sender("pod"), &beat, second(*at));
            stats.failed(&app("shop"), second(*at));
        }
        let minute = stats.minute(&app("shop"), second(look));
        assert_eq!(minute.map(|minute| minute.items), items, "{came:?} {look}");
        assert_eq!(
            minute.map(|minute| (minute.bytes, minute.errors)),
            items.map(|items| (items * 10, items))
        );
        assert_eq!(stats.minute(&app("shop/search"), second(look)), None);
    }
}

#[test]
fn failures_alone_are_no_sign_of_life() {
    let stats = LiveStats::default();
    stats.failed(&app("shop"), second(1));
    let minute = stats.minute(&app("shop"), second(1)).unwrap();
    assert_eq!(
        (minute.errors, minute.items, minute.last_seen),
        (1, 0, None)
    );
    let mut sum = Minute {
        last_seen: Some(second(3)),
        ..minute
    };
    sum.add(Minute {
        items: 2,
        last_seen: Some(second(2)),
        ..Minute::default()
    });
    assert_eq!(
        (sum.items, sum.errors, sum.last_seen),
        (2, 1, Some(second(3)))
    );
}

/// Scenario: more services and senders than there are places for. Guarantees the bounds, and that what is alive stays.
#[test]
fn services_and_senders_are_bounded() {
    let stats = LiveStats::default();
    let send = |service: &str, subject: &str, at: i64| {
        let services = [(Box::from(service), 3)];
        let beat = StatsUpdate {
            services: &services,
            items: 3,
            bytes: 1,
        };
        stats.accepted(&app("shop"), &sender(subject), &beat, second(at));
    };
    for number in 0..200 {
        send(&format!("service-{number:03}"), "pod", 100);
    }
    let names = |at: i64| -> Vec<String> {
        stats
            .services(&app("shop"), second(at))
            .into_iter()
            .map(|service| service.name)
            .collect()
    };
    assert_eq!(names(100).len(), SERVICES_PER_APP);
    assert!(
        names(100).contains(&"service-127".to_owned())
            && !names(100).contains(&"service-128".to_owned())
    );
    send("service-000", "pod", 170);
    send("late", "pod", 170);
    assert!(
        names(170).contains(&"late".to_owned()) && names(170).contains(&"service-000".to_owned())
    );
    assert_eq!(names(170).len(), SERVICES_PER_APP);
    for number in 0..40 {
        send("late", &format!("pod-{number}"), 171 + number);
    }
    let services = stats.services(&app("shop"), second(211));
    let late = services
        .iter()
        .find(|service| service.name == "late")
        .unwrap();
    let subjects: Vec<&str> = late.senders.iter().map(|sender| &*sender.subject).collect();
    assert_eq!(
        (subjects.len(), subjects[0], subjects[15]),
        (SENDERS_PER_SERVICE, "pod-39", "pod-24")
    );
    assert_eq!(late.items, 41 * 3);
    assert_eq!(names(170 + FORGOTTEN_SECONDS), ["late"]);
    assert_eq!(stats.services.load(Ordering::Relaxed), SERVICES_PER_APP);
}

#[test]
fn a_name_is_cut_between_characters() {
    for (name, kept) in [
        ("", 0),
        ("checkout", 8),
        (&"a".repeat(300), 256),
        (&"é".repeat(200), 256),
        (&"€".repeat(90), 255),
    ] {
        assert_eq!(bounded(name).len(), kept);
    }
}

#[test]
fn services_of_all_apps_are_bounded_together() {
    let stats = LiveStats::default();
    for number in 0..70 {
        let path = app(&format!("app-{number}"));
        for service in 0..SERVICES_PER_APP {
            let services = [(Box::from(format!("s{service}")), 1)];
            stats.accepted(
                &path,
                &sender("pod"),
                &StatsUpdate {
                    services: &services,
                    ..StatsUpdate::default()
                },
                second(1),
            );
        }
    }
    let known = |number: i32| {
        stats
            .services(&app(&format!("app-{number}")), second(1))
            .len()
    };
    assert_eq!((0..70).map(known).sum::<usize>(), SERVICES);
    assert!(
        stats.minute(&app("app-69"), second(1)).is_some(),
        "the app counts even if its services have no place"
    );
}
