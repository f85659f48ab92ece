//! Our own cookies in a head.
//!
//! What it does: finds the session's and the login's cookie among all that a browser sends. What it refuses to know:
//! whether they hold; other people's cookies. Invariants: every line is looked at (RFC 9113 section 8.2.3 splits them);
//! two of one name are refused, not chosen from: another site may have put one beside ours (RFC 6265bis section 4.1.3).

use http::HeaderMap;
use http::header::COOKIE;
use zeroize::Zeroizing;

use super::Fault;

/// The names of our cookies (RFC 6265bis section 4.1.3.2: `__Host-` binds them to host and TLS).
pub(crate) const SESSION_COOKIE: &str = "__Host-lightkeeper-session";
pub(crate) const LOGIN_COOKIE: &str = "__Host-lightkeeper-login";

/// The largest value that a browser keeps (RFC 6265bis section 5.6, with the name).
const VALUE_LIMIT_BYTES: usize = 4096;

/// What a browser sent of ours, unopened. Wiped when dropped.
#[derive(Default)]
pub(super) struct Cookies {
    pub session: Option<Zeroizing<String>>,
    pub login: Option<Zeroizing<String>>,
}

/// Finds ours in all cookie lines; an empty one is none.
pub(super) fn ours(headers: &HeaderMap) -> Result<Cookies, Fault> {
    let mut cookies = Cookies::default();
    let mut seen = (false, false);
    for pair in headers
        .get_all(COOKIE)
        .iter()
        .flat_map(|line| line.as_bytes().split(|byte| *byte == b';'))
    {
        let Some(at) = pair.iter().position(|byte| *byte == b'=') else {
            continue;
        };
        let (name, value) = pair.split_at_checked(at).unwrap_or_default();
        let (place, seen) = match name.trim_ascii() {
            name if name == SESSION_COOKIE.as_bytes() => (&mut cookies.session, &mut seen.0),
            name if name == LOGIN_COOKIE.as_bytes() => (&mut cookies.login, &mut seen.1),
            _ => continue,
        };
        if std::mem::replace(seen, true) {
            return Err(Fault::CookieConflict);
        }
        let value = value.get(1..).unwrap_or_default().trim_ascii();
        if value.len() > VALUE_LIMIT_BYTES || !value.iter().all(u8::is_ascii_graphic) {
            return Err(Fault::CookieConflict);
        }
        *place = str::from_utf8(value)
            .ok()
            .filter(|value| !value.is_empty())
            .map(|value| value.to_owned().into());
    }
    Ok(cookies)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Scenario: cookie lines as browsers, proxies and attackers write them; `S` and `L` stand for our names.
    /// Guarantees: each of ours is found wherever it stands, another spelling is not ours, and none is chosen from two.
    #[test]
    fn ours_are_found_and_never_chosen_from() {
        type Row<'a> = (
            &'a [&'a str],
            Result<(Option<&'a str>, Option<&'a str>), ()>,
        );
        let long = format!("S={}", "a".repeat(4096));
        let longer = format!("S={}", "a".repeat(4097));
        let full = "a".repeat(4096);
        let rows: &[Row<'_>] = &[
            (&[], Ok((None, None))),
            (&["a=b"], Ok((None, None))),
            (&["S=x"], Ok((Some("x"), None))),
            (&["a=b; S=x; L=y; c=d"], Ok((Some("x"), Some("y")))),
            (&["a=b", "S=x", "L=y"], Ok((Some("x"), Some("y")))),
            (&[" S = x ;L=y"], Ok((Some("x"), Some("y")))),
            (&["S=x=y=="], Ok((Some("x=y=="), None))),
            (&["S="], Ok((None, None))),
            (&["S"], Ok((None, None))),
            (&["=S=x"], Ok((None, None))),
            (&["aS=x; Sa=x; s=x"], Ok((None, None))),
            (
                &["__host-lightkeeper-session=x; __HOST-LIGHTKEEPER-SESSION=y"],
                Ok((None, None)),
            ),
            (
                &["lightkeeper-session=x; __Secure-lightkeeper-session=y"],
                Ok((None, None)),
            ),
            (&["a=\u{e9}; S=x"], Ok((Some("x"), None))),
            (&[&long], Ok((Some(&full), None))),
            (&[&longer], Err(())),
            (&["S=x; S=x"], Err(())),
            (&["S=x; S=y"], Err(())),
            (&["S=x", "S=y"], Err(())),
            (&["S=; S=y"], Err(())),
            (&["S=x;;;S=y"], Err(())),
            (&["L=x; a=b", "L=x"], Err(())),
            (&["S=a b"], Err(())),
            (&["S=a\u{e9}"], Err(())),
        ];
        for (lines, expected) in rows {
            let mut headers = HeaderMap::new();
            for line in *lines {
                let line = line
                    .replace("S=", &format!("{SESSION_COOKIE}="))
                    .replace("L=", &format!("{LOGIN_COOKIE}="));
                let line = line.replace(" S ", &format!(" {SESSION_COOKIE} "));
                headers.append(COOKIE, line.as_bytes().try_into().unwrap());
            }
            let found = ours(&headers);
            let found = found.as_ref().map(|cookies| {
                (
                    cookies.session.as_ref().map(|value| value.as_str()),
                    cookies.login.as_ref().map(|value| value.as_str()),
                )
            });
            assert_eq!(
                found.map_err(|fault| assert_eq!(*fault, Fault::CookieConflict)),
                *expected,
                "{lines:?}"
            );
        }
    }
}
