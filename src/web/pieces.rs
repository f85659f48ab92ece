//! Small things that several pages show: names, numbers, times, links, cells.
//!
//! What it does: turns one value into one piece of markup, the same on every page. What it refuses to know: pages.
//! Invariants: text of others shows every character that could turn or hide its neighbours; what is no web address
//! never becomes a link; a colour never says something that a word does not.

use maud::{Escaper, Markup, Render, html};
use std::fmt::Write as _;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use time::macros::{format_description, offset};

use super::safety;
use crate::percent;
use crate::telemetry::text::is_hidden;

/// Text of others: escaped, with invisible characters written out.
pub(crate) struct Escaped<'a>(pub &'a str);

impl Render for Escaped<'_> {
    fn render_to(&self, out: &mut String) {
        for c in self.0.chars() {
            // Nothing is lost where writing to a string fails: it does not.
            let _ = match is_hidden(c) && !matches!(c, '\n' | '\t') {
                true => write!(out, "\u{27e8}U+{:04X}\u{27e9}", u32::from(c)),
                false => Escaper::new(out).write_char(c),
            };
        }
    }
}

/// A word of a machine's: a path, a code, an id.
pub(crate) fn code(text: &str) -> Markup {
    html! { code { (Escaped(text)) } }
}

/// A sentence, in which what stands between backticks is a machine's word.
pub(crate) fn words(text: &str) -> Markup {
    let mut parts: Vec<&str> = text.split('`').collect();
    // An odd backtick is one of the text's own.
    let tail = if parts.len().is_multiple_of(2) {
        parts.pop()
    } else {
        None
    };
    html! {
        @for (index, part) in parts.iter().enumerate() {
            @if index % 2 == 1 { (code(part)) } @else { (Escaped(part)) }
        }
        @if let Some(tail) = tail { "`" (Escaped(tail)) }
    }
}

/// What is not there, and why.
pub(crate) fn nothing(words: &str) -> Markup {
    html! { span.none aria-hidden="true" { "–" } span.vh { (words) } }
}

/// `12.3k`: three digits that count. What is no amount is shown as a dash.
pub(crate) fn amount(value: f64) -> String {
    if !value.is_finite() || value < 0.0 {
        return "–".to_owned();
    }
    let mut scaled = value;
    let mut unit = "";
    for next in ["k", "M", "G", "T"] {
        if scaled < 999.5 {
            break;
        }
        scaled /= 1000.0;
        unit = next;
    }
    match scaled {
        0.0 => "0".to_owned(),
        small if small < 0.05 => "<0.1".to_owned(),
        small if small < 9.95 || (small < 99.95 && !unit.is_empty()) => format!("{small:.1}{unit}"),
        _ => format!("{scaled:.0}{unit}"),
    }
}

/// `496 kB/s`
pub(crate) fn bytes(per_second: f64) -> String {
    let amount = amount(per_second);
    let at = amount
        .find(|c: char| c.is_ascii_alphabetic())
        .unwrap_or(amount.len());
    let (number, unit) = amount.split_at(at);
    format!("{number}\u{a0}{unit}B/s")
}

/// A count: exact up to 9999, then as `amount` shows one.
#[expect(
    clippy::cast_precision_loss,
    reason = "past 2^53 three digits are shown, which hold"
)]
pub(crate) fn count(value: u64) -> String {
    if value < 10_000 {
        value.to_string()
    } else {
        amount(value as f64)
    }
}

/// An RFC 3339 moment, shown in UTC; other text is shown as it is.
pub(crate) fn moment(text: &str) -> Markup {
    let shape = format_description!("[year]-[month]-[day] [hour]:[minute]:[second]");
    let parsed = OffsetDateTime::parse(text, &Rfc3339).ok();
    match parsed.and_then(|moment| moment.to_offset(offset!(UTC)).format(&shape).ok()) {
        Some(shown) => html! { time datetime=(text) { (shown) " UTC" } },
        None => html! { (Escaped(text)) },
    }
}

/// A moment, as long ago as it is; the exact one is shown where the pointer rests on it.
pub(crate) fn ago(moment: Option<&str>, ago: Option<&str>) -> Markup {
    let exact = moment.filter(|moment| OffsetDateTime::parse(moment, &Rfc3339).is_ok());
    match (exact, ago) {
        (Some(exact), Some(ago)) => {
            html! { time datetime=(exact) title=(exact) { (Escaped(ago)) } }
        }
        (Some(exact), None) => self::moment(exact),
        (None, Some(ago)) => html! { (Escaped(ago)) },
        (None, None) => nothing("never"),
    }
}

/// A link to another site; what is no web address is shown as text.
pub(crate) fn outward(title: &str, url: &str) -> Markup {
    match safety::is_link(url) {
        true => html! {
            a.outward href=(url) rel="noopener noreferrer" { (Escaped(title)) span aria-hidden="true" { "\u{a0}↗" } span.vh { " (other site)" } }
        },
        false => html! { span { (Escaped(title)) ": " (code(url)) } },
    }
}

/// The page of an app; the root's is `/.lightkeeper/apps`.
pub(crate) fn app_url(app: &str) -> String {
    beneath("/.lightkeeper/apps", app)
}

/// The recent decisions of an app and what is beneath.
pub(crate) fn decisions_url(app: &str) -> String {
    beneath("/.lightkeeper/decisions", app)
}

fn beneath(folder: &str, app: &str) -> String {
    match app.trim_start_matches('/') {
        "" => folder.to_owned(),
        app => format!("{folder}/{}", percent::encode_path(app)),
    }
}

/// The explanation of a call.
pub(crate) fn explain_url(request_id: &str) -> String {
    format!(
        "/.lightkeeper/explain?request_id={}",
        percent::encode(request_id)
    )
}

/// A cell. Its label stands beside it where the table has no room for columns; the roles are told because a style
/// that changes `display` may take them away.
pub(crate) fn cell(label: &str, class: &str, content: impl Render) -> Markup {
    html! { td role="cell" class=(class) data-label=(label) { div.v { (content) } } }
}

/// A table's head, from its labels and classes; an empty class is none.
pub(crate) fn head(columns: &[(&str, &str)]) -> Markup {
    html! {
        thead role="rowgroup" {
            tr role="row" {
                @for (label, class) in columns { th role="columnheader" scope="col" class=(class) { (label) } }
            }
        }
    }
}

/// Where one is: from the root to here.
pub(crate) fn trail<'a>(steps: impl Iterator<Item = (&'a str, &'a str)>, here: &str) -> Markup {
    html! {
        nav.trail aria-label="Breadcrumb" {
            ol {
                @for (app, name) in steps { li { a href=(app_url(app)) { (Escaped(name)) } } }
                li { span aria-current="page" { (Escaped(here)) } }
            }
        }
    }
}

/// A mark with a word in it: `ok`, `bad`, `warn` or `plain`.
pub(crate) fn badge(tone: &str, words: &str) -> Markup {
    html! { span class={ "badge " (tone) } { (Escaped(words)) } }
}

/// How a caller proved who it is, in words.
pub(crate) fn method(method: &str) -> &str {
    match method {
        "session" => "browser session",
        "oidc" => "signed token",
        "jwt_svid" => "SPIFFE token",
        "introspection" => "opaque token",
        "mtls" => "client certificate",
        "client_token" => "client token",
        other => other,
    }
}

/// How far back a gateway's memory of calls goes.
pub(crate) fn memory(since: Option<&str>) -> Markup {
    html! {
        p.hint {
            "This gateway process remembers its own last calls (of exports that went well a few)"
            @if let Some(since) = since { ", back to " (moment(since)) }
            ". What is older, and what other gateways decided, stands in the audit log."
        }
    }
}

/// What could not be found out: shown, never left out.
pub(crate) fn alert_errors(errors: &[String]) -> Markup {
    html! {
        @if !errors.is_empty() {
            div.callout.warn {
                p { strong { "Alerts could not be asked for everywhere." } " What is shown may be incomplete." }
                ul { @for error in errors { li { (words(error)) } } }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_have_three_digits() {
        for (value, shown) in [
            (0.0, "0"),
            (0.01, "<0.1"),
            (0.25, "0.2"),
            (9.94, "9.9"),
            (12.0, "12"),
            (999.4, "999"),
            (999.5, "1.0k"),
            (12_345.0, "12.3k"),
            (123_456.0, "123k"),
            (999_600.0, "1.0M"),
            (4.2e9, "4.2G"),
            (4.2e18, "4200000T"),
            (f64::NAN, "–"),
            (f64::INFINITY, "–"),
            (-1.0, "–"),
        ] {
            assert_eq!(amount(value), shown, "{value}");
        }
        assert_eq!(
            [bytes(0.0), bytes(496_254.0)],
            ["0\u{a0}B/s", "496\u{a0}kB/s"]
        );
        for (value, shown) in [
            (3, "3"),
            (9_999, "9999"),
            (12_345, "12.3k"),
            (u64::MAX, "18446744T"),
        ] {
            assert_eq!(count(value), shown);
        }
    }

    #[test]
    fn moments_are_shown_in_utc_or_as_they_came() {
        for (text, shown) in [
            ("2026-11-22T23:14:05.123Z", "2026-11-22 23:14:05 UTC"),
            ("2026-11-23T00:14:05+01:00", "2026-11-22 23:14:05 UTC"),
        ] {
            assert_eq!(
                moment(text).into_string(),
                format!("<time datetime=\"{text}\">{shown}</time>")
            );
        }
        assert_eq!(moment("<soon>").into_string(), "&lt;soon&gt;");
        assert_eq!(ago(Some("\"x"), Some("1 s ago")).into_string(), "1 s ago");
    }

    #[test]
    fn what_hides_is_written_out() {
        for (text, shown) in [
            ("checkout", "checkout"),
            ("a<b>&\"", "a&lt;b&gt;&amp;&quot;"),
            ("a\u{202e}b", "a⟨U+202E⟩b"),
            ("a\u{200b}\0b", "a⟨U+200B⟩⟨U+0000⟩b"),
            ("größe 日本 🏮", "größe 日本 🏮"),
            ("a\n\tb", "a\n\tb"),
        ] {
            assert_eq!(Escaped(text).render().into_string(), shown, "{text:?}");
        }
    }

    #[test]
    fn words_between_backticks_are_code() {
        for (text, shown) in [
            ("plain", "plain"),
            ("say `a<b>`, then", "say <code>a&lt;b&gt;</code>, then"),
            ("an odd ` one", "an odd ` one"),
            ("`a` and `b", "<code>a</code> and `b"),
            ("", ""),
        ] {
            assert_eq!(words(text).into_string(), shown, "{text:?}");
        }
    }

    #[test]
    fn addresses_of_ours_are_encoded() {
        assert_eq!(app_url("/"), "/.lightkeeper/apps");
        assert_eq!(decisions_url("/"), "/.lightkeeper/decisions");
        assert_eq!(app_url("shop/checkout"), "/.lightkeeper/apps/shop/checkout");
        assert_eq!(
            decisions_url("//evil\"?#"),
            "/.lightkeeper/decisions/evil%22%3F%23"
        );
        assert_eq!(
            explain_url("a&b=c/ü"),
            "/.lightkeeper/explain?request_id=a%26b%3Dc%2F%C3%BC"
        );
    }
}
