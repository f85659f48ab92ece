//! What is asked of the gateway's own site, `/.lightkeeper/…`, in typed form.
//!
//! What it does: reads pages and steps of the login, and paths that a browser may be sent back to. What it refuses to
//! know: sessions, HTML. Invariants: a `ReturnPath` is a path of ours, wherever it comes from; what comes back from a provider
//! is never shown by `Debug` and is wiped when dropped.

use http::Method;
use zeroize::{Zeroize as _, Zeroizing};

use super::{Dialect, Fault};
use crate::apps::AppPath;

/// Something of the site.
#[derive(Debug, PartialEq, Eq)]
pub enum SiteRequest {
    /// `GET /.lightkeeper`, without the slash that its pages stand behind: for anybody.
    Door,
    /// `GET login?return_to=…`: for anybody.
    Login {
        return_to: ReturnPath,
        /// Whether another path was asked for, that is not ours to return to.
        strayed: bool,
    },
    /// `GET callback?…`: for anybody.
    Callback(CallbackRequest),
    /// `GET signed-out`: for anybody.
    SignedOut,
    /// `GET assets/{name}`: for anybody.
    Asset(String),
    /// `GET configuration`: what the command line needs to log in, as JSON, for anybody.
    Configuration,
    /// `GET /.well-known/oauth-protected-resource` (RFC 9728), at a listener that has a name: for anybody.
    Metadata,
    /// `POST logout`.
    Logout,
    /// `POST backchannel-logout`: the identity provider ends a session.
    BackchannelLogout,
    /// `POST ssf/events`: a transmitter of security events ends proofs.
    SecurityEvents,
    Page(PageRequest),
}

/// A page that shows the caller what is the caller's.
#[derive(Debug, PartialEq, Eq)]
pub enum PageRequest {
    /// `GET /.lightkeeper/?filter=…`: the tree.
    Tree { filter: Option<String> },
    /// `GET apps/{app path}`
    App(AppPath),
    /// `GET explain?…`: why was I refused?
    Explain(ExplainRequest),
    /// `GET decisions/{app path}`: the subtree's recent decisions.
    Decisions(AppPath),
    /// `GET decisions/{app path}?…`: those of the audit trail that are asked for.
    Trail(Box<TrailRequest>),
}

/// Which decisions of a subtree are looked for in the audit trail.
#[derive(Debug, PartialEq, Eq)]
pub struct TrailRequest {
    pub app: AppPath,
    pub request_id: Option<String>,
    pub subject: Option<String>,
    pub issuer: Option<String>,
    pub operation: Option<String>,
    pub decision: Option<String>,
    pub reason: Option<String>,
    pub status: Option<String>,
    pub since: Option<String>,
    pub until: Option<String>,
}

impl TrailRequest {
    /// Of everything that is there.
    pub fn of(app: AppPath) -> Self {
        TrailRequest {
            app,
            request_id: None,
            subject: None,
            issuer: None,
            operation: None,
            decision: None,
            reason: None,
            status: None,
            since: None,
            until: None,
        }
    }
}

/// About what an explanation is asked: an earlier call, or one that is made up.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct ExplainRequest {
    pub request_id: Option<String>,
    pub method: Option<String>,
    pub path: Option<String>,
    /// An export's app, as the header `lightkeeper-app` would name it.
    pub app: Option<String>,
    /// An export's `service.name`.
    pub service: Option<String>,
}

/// How a provider sent a browser back.
#[derive(PartialEq, Eq)]
pub struct CallbackRequest {
    /// The query's pairs as the provider wrote them, decoded, unknown ones too.
    pub pairs: Vec<(String, String)>,
    /// The cookie of the login that this should be the end of.
    pub transaction: Option<Zeroizing<String>>,
}

impl std::fmt::Debug for CallbackRequest {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("CallbackRequest(…)")
    }
}

impl Drop for CallbackRequest {
    fn drop(&mut self) {
        self.pairs.iter_mut().for_each(|(_, value)| value.zeroize());
    }
}

/// The site's first page.
pub(super) const HOME: &str = "/.lightkeeper/";

/// Where clients look for a resource's metadata (RFC 9728 section 3).
pub(crate) const METADATA_PATH: &str = "/.well-known/oauth-protected-resource";

/// The most of one value that a provider's answer may have; state and code are far smaller.
const ANSWER_LIMIT_BYTES: usize = 8192;
/// The most that can be looked for in the tree.
const FILTER_LIMIT_BYTES: usize = 256;

/// In which form a path of the site is answered; `None`: not one of the site's.
pub(super) fn dialect(path: &str) -> Option<Dialect> {
    let path = path.split('?').next().unwrap_or_default();
    if path == METADATA_PATH {
        return Some(Dialect::Own);
    }
    match path.strip_prefix("/.lightkeeper")? {
        "/whoami" | "/configuration" | "/backchannel-logout" | "/ssf/events" => Some(Dialect::Own),
        rest if rest.is_empty() || rest.starts_with('/') => Some(Dialect::Page),
        _ => None,
    }
}

/// What `words` (behind `/.lightkeeper`) ask for; `None`: nothing that anybody knows. `is_home`: with the slash of the
/// first page.
pub(super) fn ask(
    method: &Method,
    words: &[&str],
    is_home: bool,
    pairs: Vec<(String, String)>,
    transaction: Option<Zeroizing<String>>,
) -> Result<Option<SiteRequest>, Fault> {
    let is_get = *method == Method::GET;
    if *method == Method::POST && *words == ["logout"] {
        return take(&pairs, []).map(|[]| Some(SiteRequest::Logout));
    }
    if *method == Method::POST
        && let Some(pushed) = match words {
            ["backchannel-logout"] => Some(SiteRequest::BackchannelLogout),
            ["ssf", "events"] => Some(SiteRequest::SecurityEvents),
            _ => None,
        }
    {
        return take(&pairs, []).map(|[]| Some(pushed));
    }
    if !is_get {
        return Ok(None);
    }
    if let ["callback"] = words {
        if pairs
            .iter()
            .any(|(_, value)| value.len() > ANSWER_LIMIT_BYTES)
        {
            return Err(Fault::Query);
        }
        return Ok(Some(SiteRequest::Callback(CallbackRequest {
            pairs,
            transaction,
        })));
    }
    if let ["login"] = words {
        let [wanted] = take(&pairs, [("return_to", usize::MAX)])?;
        let return_to = wanted
            .as_deref()
            .map_or_else(|| Some(ReturnPath::home()), ReturnPath::parse);
        let strayed = return_to.is_none();
        return Ok(Some(SiteRequest::Login {
            return_to: return_to.unwrap_or_else(ReturnPath::home),
            strayed,
        }));
    }
    if let ["explain"] = words {
        let keys = [
            ("request_id", 64),
            ("method", 16),
            ("path", 2048),
            ("app", 512),
            ("service", 256),
        ];
        let [request_id, method, path, app, service] = take(&pairs, keys)?;
        let explain = ExplainRequest {
            request_id,
            method,
            path,
            app,
            service,
        };
        return Ok(Some(SiteRequest::Page(PageRequest::Explain(explain))));
    }
    if let ([], true) = (words, is_home) {
        let [filter] = take(&pairs, [("filter", FILTER_LIMIT_BYTES)])?;
        return Ok(Some(SiteRequest::Page(PageRequest::Tree { filter })));
    }
    let app = |words: &[&str]| {
        words
            .iter()
            .try_fold(AppPath::root(), |app, word| app.child(word))
    };
    if let (["decisions", rest @ ..], false) = (words, pairs.is_empty()) {
        let Some(app) = app(rest) else {
            return Ok(None);
        };
        let wanted = trail(app, &pairs)?;
        let page = PageRequest::Trail(Box::new(wanted));
        return Ok(Some(SiteRequest::Page(page)));
    }
    let found = match words {
        [] => Some(SiteRequest::Door),
        ["signed-out"] => Some(SiteRequest::SignedOut),
        ["configuration"] => Some(SiteRequest::Configuration),
        ["assets", name] => Some(SiteRequest::Asset((*name).to_owned())),
        ["apps", rest @ ..] => app(rest).map(|app| SiteRequest::Page(PageRequest::App(app))),
        ["decisions", rest @ ..] => {
            app(rest).map(|app| SiteRequest::Page(PageRequest::Decisions(app)))
        }
        _ => None,
    };
    if found.is_some() {
        let [] = take(&pairs, [])?;
    }
    Ok(found)
}

/// What a query looks for in the trail.
fn trail(app: AppPath, pairs: &[(String, String)]) -> Result<TrailRequest, Fault> {
    let keys = [
        ("request_id", 64),
        ("subject", 2048),
        ("issuer", 512),
        ("operation", 128),
        ("decision", 8),
        ("reason", 64),
        ("status", 8),
        ("since", 64),
        ("until", 64),
    ];
    let values = take(pairs, keys)?;
    let [
        request_id,
        subject,
        issuer,
        operation,
        decision,
        reason,
        status,
        since,
        until,
    ] = values;
    Ok(TrailRequest {
        app,
        request_id,
        subject,
        issuer,
        operation,
        decision,
        reason,
        status,
        since,
        until,
    })
}

/// What `words` ask for at a listener that has a name, besides the site.
pub(super) fn metadata(
    method: &Method,
    words: &[&str],
    pairs: &[(String, String)],
) -> Option<SiteRequest> {
    let is_asked = *method == Method::GET
        && *words == [".well-known", "oauth-protected-resource"]
        && pairs.is_empty();
    is_asked.then_some(SiteRequest::Metadata)
}

/// The values of these keys and no others, each at most once and no longer than said; an empty one is none.
fn take<const N: usize>(
    pairs: &[(String, String)],
    keys: [(&str, usize); N],
) -> Result<[Option<String>; N], Fault> {
    for (index, (key, value)) in pairs.iter().enumerate() {
        let known = keys
            .iter()
            .any(|(known, limit_bytes)| known == key && value.len() <= *limit_bytes);
        if !known || pairs.iter().take(index).any(|(earlier, _)| earlier == key) {
            return Err(Fault::Query);
        }
    }
    Ok(keys.map(|(key, _)| {
        let found = pairs
            .iter()
            .find(|(known, value)| known == key && !value.is_empty());
        found.map(|(_, value)| value.clone())
    }))
}

/// The longest path that a browser is sent back to.
const RETURN_PATH_LIMIT_BYTES: usize = 2048;

/// A path on this gateway's site, with its query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReturnPath(String);

impl ReturnPath {
    /// The site's first page.
    pub fn home() -> Self {
        ReturnPath(HOME.to_owned())
    }

    /// A decoded value that may be returned to: one of the site's own paths, in visible ASCII, without anything that a
    /// browser could read as another host (`//`, backslash) or that leaves the site (`..`).
    pub fn parse(text: &str) -> Option<Self> {
        let path = text.split('?').next().unwrap_or_default();
        let plain = text.len() <= RETURN_PATH_LIMIT_BYTES
            && text.bytes().all(|byte| {
                byte.is_ascii_graphic() && !matches!(byte, b'\\' | b'#' | b'"' | b'<' | b'>')
            });
        let steps = path
            .split('/')
            .skip(1)
            .all(|step| !matches!(step, "." | ".."));
        let encoded = path.to_ascii_lowercase();
        let hidden = ["%2f", "%5c", "%2e", "%00", "%25"]
            .iter()
            .any(|hidden| encoded.contains(hidden));
        let ours = path.starts_with(HOME) && !path.contains("//");
        let loops = [
            "/.lightkeeper/login",
            "/.lightkeeper/callback",
            "/.lightkeeper/logout",
        ]
        .contains(&path);
        (plain && steps && !hidden && ours && !loops).then(|| ReturnPath(text.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Scenario: what browsers and others ask of the site. Guarantees: each is one thing or nothing; keys that are not
    /// known, stand twice or are too long are refused.
    #[test]
    fn asks_of_the_site() {
        let page = |page| Ok(Some(SiteRequest::Page(page)));
        let explain = |ask| page(PageRequest::Explain(ask));
        let app = |text| AppPath::parse(text).unwrap();
        let login = |to: &str, strayed| {
            Ok(Some(SiteRequest::Login {
                return_to: ReturnPath::parse(to).unwrap(),
                strayed,
            }))
        };
        let long = |key: &str, length: usize| format!("?{key}={}", "a".repeat(length));
        let rows = [
            ("GET /.lightkeeper", Ok(Some(SiteRequest::Door))),
            (
                "GET /.lightkeeper/",
                page(PageRequest::Tree { filter: None }),
            ),
            (
                "GET /.lightkeeper/?filter=",
                page(PageRequest::Tree { filter: None }),
            ),
            (
                "GET /.lightkeeper/?filter=a+b",
                page(PageRequest::Tree {
                    filter: Some("a b".to_owned()),
                }),
            ),
            ("GET /.lightkeeper/?filter=a&filter=a", Err(Fault::Query)),
            ("GET /.lightkeeper/?other=a", Err(Fault::Query)),
            (
                &format!("GET /.lightkeeper/{}", long("filter", 257)),
                Err(Fault::Query),
            ),
            ("GET /.lightkeeper?filter=a", Err(Fault::Query)),
            (
                "GET /.lightkeeper/apps",
                page(PageRequest::App(AppPath::root())),
            ),
            (
                "GET /.lightkeeper/apps/shop/checkout",
                page(PageRequest::App(app("shop/checkout"))),
            ),
            ("GET /.lightkeeper/apps/shop?x=1", Err(Fault::Query)),
            ("GET /.lightkeeper/apps/-", Ok(None)),
            (
                "GET /.lightkeeper/decisions",
                page(PageRequest::Decisions(AppPath::root())),
            ),
            (
                "GET /.lightkeeper/decisions/shop",
                page(PageRequest::Decisions(app("shop"))),
            ),
            (
                "GET /.lightkeeper/decisions/shop?subject=a%22b&status=&since=2026-11-30",
                page(PageRequest::Trail(Box::new(TrailRequest {
                    subject: Some("a\"b".to_owned()),
                    since: Some("2026-11-30".to_owned()),
                    ..TrailRequest::of(app("shop"))
                }))),
            ),
            (
                "GET /.lightkeeper/decisions?decision=",
                page(PageRequest::Trail(Box::new(TrailRequest::of(
                    AppPath::root(),
                )))),
            ),
            ("GET /.lightkeeper/decisions?app=shop", Err(Fault::Query)),
            (
                "GET /.lightkeeper/decisions?since=1&since=2",
                Err(Fault::Query),
            ),
            (
                &format!("GET /.lightkeeper/decisions{}", long("reason", 65)),
                Err(Fault::Query),
            ),
            (
                "GET /.lightkeeper/explain",
                explain(ExplainRequest::default()),
            ),
            (
                "GET /.lightkeeper/explain?request_id=&path=%2Fv1&method=GET",
                {
                    let path = Some("/v1".to_owned());
                    explain(ExplainRequest {
                        path,
                        method: Some("GET".to_owned()),
                        ..ExplainRequest::default()
                    })
                },
            ),
            (
                &format!("GET /.lightkeeper/explain{}", long("request_id", 65)),
                Err(Fault::Query),
            ),
            ("GET /.lightkeeper/explain?subject=x", Err(Fault::Query)),
            ("GET /.lightkeeper/login", login("/.lightkeeper/", false)),
            (
                "GET /.lightkeeper/login?return_to=/.lightkeeper/apps",
                login("/.lightkeeper/apps", false),
            ),
            (
                "GET /.lightkeeper/login?return_to=%2F%2Fevil.example",
                login("/.lightkeeper/", true),
            ),
            (
                "GET /.lightkeeper/login?return_to=a&return_to=b",
                Err(Fault::Query),
            ),
            (
                "GET /.lightkeeper/signed-out",
                Ok(Some(SiteRequest::SignedOut)),
            ),
            (
                "GET /.lightkeeper/configuration",
                Ok(Some(SiteRequest::Configuration)),
            ),
            (
                "GET /.lightkeeper/assets/a.css",
                Ok(Some(SiteRequest::Asset("a.css".to_owned()))),
            ),
            ("GET /.lightkeeper/assets", Ok(None)),
            ("GET /.lightkeeper/assets/a/b", Ok(None)),
            ("GET /.lightkeeper/callback?code=a&state=b&code=c", {
                let pairs = [("code", "a"), ("state", "b"), ("code", "c")];
                let pairs = pairs
                    .map(|(key, value)| (key.to_owned(), value.to_owned()))
                    .to_vec();
                Ok(Some(SiteRequest::Callback(CallbackRequest {
                    pairs,
                    transaction: None,
                })))
            }),
            (
                &format!("GET /.lightkeeper/callback{}", long("code", 8193)),
                Err(Fault::Query),
            ),
            ("POST /.lightkeeper/logout", Ok(Some(SiteRequest::Logout))),
            ("POST /.lightkeeper/logout?return_to=a", Err(Fault::Query)),
            ("GET /.lightkeeper/logout", Ok(None)),
            (
                "POST /.lightkeeper/backchannel-logout",
                Ok(Some(SiteRequest::BackchannelLogout)),
            ),
            (
                "POST /.lightkeeper/backchannel-logout?logout_token=a",
                Err(Fault::Query),
            ),
            ("GET /.lightkeeper/backchannel-logout", Ok(None)),
            ("POST /.lightkeeper/backchannel-logout/a", Ok(None)),
            (
                "POST /.lightkeeper/ssf/events",
                Ok(Some(SiteRequest::SecurityEvents)),
            ),
            ("POST /.lightkeeper/ssf/events?state=a", Err(Fault::Query)),
            ("GET /.lightkeeper/ssf/events", Ok(None)),
            ("POST /.lightkeeper/ssf", Ok(None)),
            ("POST /.lightkeeper/", Ok(None)),
            ("HEAD /.lightkeeper/", Ok(None)),
            ("PUT /.lightkeeper/apps/shop", Ok(None)),
            ("POST /.lightkeeper/callback?code=a", Ok(None)),
            ("GET /.lightkeeper/other", Ok(None)),
        ];
        for (line, expected) in rows {
            let (method, target) = line.split_once(' ').unwrap();
            let (path, query) = target.split_once('?').unwrap_or((target, ""));
            let pairs = if query.is_empty() {
                Vec::new()
            } else {
                super::super::path::pairs(query).unwrap()
            };
            let words: Vec<&str> = path
                .split('/')
                .skip(2)
                .filter(|word| !word.is_empty())
                .collect();
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            assert_eq!(
                ask(&method, &words, path == HOME, pairs, None),
                expected,
                "{line}"
            );
        }
    }

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
        assert_eq!(
            ReturnPath::parse(&format!("/.lightkeeper/{}", "a".repeat(2048))),
            None
        );
        assert_eq!(
            ReturnPath::parse(ReturnPath::home().as_str()),
            Some(ReturnPath::home())
        );
    }
}
