//! What is asked of the gateway's own site, `/.lightkeeper/…`, in typed form.
//!
//! What it does: holds pages and steps of the login, and paths that a browser may be sent back to. What it refuses to
//! know: sessions, HTML. Invariant: a `ReturnPath` is a path of ours, whoever wrote it.

use crate::apps::AppPath;

/// Something of the site.
#[derive(Debug, PartialEq, Eq)]
pub enum SiteAsk {
    /// `GET login?return_to=…`: for anybody.
    Login {
        return_to: ReturnPath,
    },
    /// `GET callback?…`: for anybody; the pairs as the provider wrote them, decoded.
    Callback(Vec<(String, String)>),
    /// `GET signed-out`: for anybody.
    SignedOut,
    /// `GET assets/{name}`: for anybody.
    Asset(String),
    /// `GET configuration`: what the command line needs to log in, as JSON, for anybody.
    Configuration,
    /// `POST logout`.
    Logout,
    Page(PageAsk),
}

/// A page that shows the caller what is the caller's.
#[derive(Debug, PartialEq, Eq)]
pub enum PageAsk {
    /// `GET /.lightkeeper/?filter=…`: the tree.
    Tree { filter: Option<String> },
    /// `GET apps/{app path}`
    App(AppPath),
    /// `GET explain?…`: why was I refused?
    Explain(ExplainAsk),
    /// `GET decisions/{app path}`: the subtree's recent decisions.
    Decisions(AppPath),
}

/// About what an explanation is asked: an earlier call, or one that is made up.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct ExplainAsk {
    pub request_id: Option<String>,
    pub method: Option<String>,
    pub path: Option<String>,
    /// An export's app, as the header `lightkeeper-app` would name it.
    pub app: Option<String>,
    /// An export's `service.name`.
    pub service: Option<String>,
}

/// The longest path that a browser is sent back to.
const RETURN_PATH_LIMIT_BYTES: usize = 2048;

/// A path on this gateway's site, with its query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReturnPath(String);

impl ReturnPath {
    /// The site's first page.
    pub fn home() -> Self {
        ReturnPath("/.lightkeeper/".to_owned())
    }

    /// A decoded value that may be returned to: one of the site's own paths, in visible ASCII, without anything that a
    /// browser could read as another host (`//`, backslash) or that leaves the site (`..`).
    pub fn parse(text: &str) -> Option<Self> {
        let path = text.split('?').next().unwrap_or_default();
        let plain = text.len() <= RETURN_PATH_LIMIT_BYTES
            && text.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'\\' | b'#' | b'"' | b'<' | b'>'));
        let steps = path.split('/').skip(1).all(|step| !matches!(step, "." | ".."));
        let encoded = path.to_ascii_lowercase();
        let hidden = ["%2f", "%5c", "%2e", "%00", "%25"].iter().any(|hidden| encoded.contains(hidden));
        let ours = path.starts_with("/.lightkeeper/") && !path.contains("//");
        let loops = ["/.lightkeeper/login", "/.lightkeeper/callback", "/.lightkeeper/logout"].contains(&path);
        (plain && steps && !hidden && ours && !loops).then(|| ReturnPath(text.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_browser_is_sent_back_to_our_own_pages_only() {
        for (text, allowed) in [
            ("/.lightkeeper/", true),
            ("/.lightkeeper/apps/shop/checkout", true),
            ("/.lightkeeper/explain?method=GET&path=%2Fv1%2Ftraces", true),
            ("/.lightkeeper/../public/v0.2/acme/projects", false),
            ("/.lightkeeper/%2e%2e/public", false),
            ("/.lightkeeper//evil.example", false),
            ("/.lightkeeper/a%2f%2fevil.example", false),
            ("/.lightkeeper/login?return_to=/.lightkeeper/", false),
            ("/.lightkeeper/logout", false),
            ("//evil.example/.lightkeeper/", false),
            ("/\\evil.example", false),
            ("/.lightkeeper/\\evil.example", false),
            ("https://evil.example/.lightkeeper/", false),
            ("javascript:alert(1)", false),
            ("/.lightkeeper/\r\nset-cookie: a=b", false),
            ("/.lightkeeper/#a", false),
            ("/.lightkeeper/a b", false),
            ("/apps", false),
            ("", false),
        ] {
            assert_eq!(ReturnPath::parse(text).is_some(), allowed, "{text}");
        }
        assert_eq!(ReturnPath::parse(&format!("/.lightkeeper/{}", "a".repeat(2048))), None);
        assert_eq!(ReturnPath::parse(ReturnPath::home().as_str()), Some(ReturnPath::home()));
    }
}
