//! What a browser is told to refuse on our pages, and which links we write.
//!
//! What it does: holds the security headers of every page and decides whether an address may become a link. What it
//! refuses to know: pages. Invariants: nothing inline and nothing of another origin is loaded; a link leads to `https:`,
//! `http:` or a path of this gateway, wherever it comes from.

/// Content Security Policy Level 3, HTML §7.1.3 (COOP), Permissions Policy, RFC 7034.
///
/// `form-action`: Chromium holds it against every redirect that a form's answer makes, too. Logging out, and a search by
/// a person whose session has ended, are answered with a redirect to the identity provider, which may send on to
/// another one; so any `https:` place is allowed, and plain `http:` on loopback, where demonstrations have theirs.
pub(crate) const HEADERS: &[(&str, &str)] = &[
    (
        "content-security-policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
         form-action 'self' https: http://127.0.0.1:* http://localhost:*; frame-ancestors 'none'; base-uri 'none'",
    ),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    (
        "permissions-policy",
        "accelerometer=(), autoplay=(), camera=(), display-capture=(), geolocation=(), gyroscope=(), \
         magnetometer=(), microphone=(), midi=(), payment=(), usb=(), clipboard-write=(self)",
    ),
    ("referrer-policy", "no-referrer"),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
];

/// Whether `url` may stand in a link: absolute with `https://` or `http://`, or a path of this gateway. Browsers drop
/// tabs and line ends, and read a backslash as a slash (WHATWG URL §4.4): addresses with those are not links.
pub(crate) fn is_link(url: &str) -> bool {
    let plain = !url
        .chars()
        .any(|c| c.is_control() || c.is_whitespace() || c == '\\');
    let absolute = ["https://", "http://"]
        .iter()
        .any(|scheme| url.len() > scheme.len() && url.starts_with(scheme));
    let ours = url.starts_with('/') && !url.starts_with("//");
    plain && (absolute || ours)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_web_addresses_and_our_own_paths_become_links() {
        for (url, link) in [
            ("https://app.example/a?b=c#d", true),
            ("http://127.0.0.1:8080/", true),
            ("/apps/shop", true),
            ("/", true),
            ("https://", false),
            ("HTTPS://app.example", false),
            ("//evil.example", false),
            ("/\\evil.example", false),
            ("/\t/evil.example", false),
            ("/\n/evil.example", false),
            ("https://a b", false),
            ("javascript:alert(1)", false),
            (" javascript:alert(1)", false),
            ("java\tscript:alert(1)", false),
            ("data:text/html,x", false),
            ("apps/shop", false),
            ("", false),
        ] {
            assert_eq!(is_link(url), link, "{url:?}");
        }
    }

    #[test]
    fn the_policy_allows_nothing_inline_and_nobody_else() {
        let find = |name: &str| {
            HEADERS
                .iter()
                .find(|(header, _)| *header == name)
                .map(|(_, value)| *value)
        };
        let policy = find("content-security-policy").unwrap();
        for directive in policy.split(';') {
            let (name, sources) = directive.trim().split_once(' ').unwrap();
            match name {
                "default-src" | "frame-ancestors" | "base-uri" => {
                    assert_eq!(sources, "'none'", "{name}")
                }
                "script-src" | "style-src" | "img-src" | "connect-src" => {
                    assert_eq!(sources, "'self'", "{name}")
                }
                "form-action" => assert!(sources.starts_with("'self' https: "), "{sources}"),
                other => panic!("`{other}` is new: what may it allow?"),
            }
        }
        assert!(!policy.contains("unsafe") && !policy.contains("data:") && !policy.contains("  "));
        assert_eq!(find("x-frame-options"), Some("DENY"));
        assert_eq!(find("referrer-policy"), Some("no-referrer"));
        assert_eq!(find("cross-origin-opener-policy"), Some("same-origin"));
    }
}
