//! What the site shows, as plain values.
//!
//! What it does: holds every page's content, gathered from the rooms for one visitor. What it refuses to know: HTML,
//! sockets. Invariants: nothing secret is in here: no token, key or cookie; nothing is in here that its visitor may not
//! see. The renderer must escape it: names come from tokens and telemetry.

use crate::reason::Reason;

/// What every page has.
#[derive(Clone, Debug, Default)]
pub struct Frame {
    pub organization: String,
    /// `None`: no person is logged in.
    pub(crate) visitor: Option<Visitor>,
    pub request_id: String,
    /// Whether there is a login to go to.
    pub(crate) can_log_in: bool,
    /// RFC 3339, when this was gathered.
    pub time: String,
}

/// Who looks.
#[derive(Clone, Debug, Default)]
pub(crate) struct Visitor {
    /// Name, e-mail address or subject: what a person recognizes.
    pub name: String,
    pub issuer: String,
    pub subject: String,
    /// `session`, `oidc`, `mtls`, `client_token`.
    pub method: &'static str,
    pub groups: Vec<String>,
    /// RFC 3339; of a session its absolute end.
    pub expires: Option<String>,
    /// What a form of this session must send along; `None`: not a session, and nothing can be logged out of.
    pub csrf: Option<String>,
}

/// One page.
#[derive(Clone, Debug)]
pub enum Page {
    Tree(TreeView),
    App(Box<AppView>),
    Explain(Box<ExplainView>),
    Decisions(DecisionsView),
    SignedOut,
    Fault(FaultView),
}

/// The tree, as its visitor may see it.
#[derive(Clone, Debug, Default)]
pub struct TreeView {
    pub filter: Option<String>,
    /// Depth first, the root first; after the filter, with the ancestors of what fits.
    pub rows: Vec<TreeRow>,
    /// Alerts could not be asked for everywhere: which projects, and why.
    pub alert_errors: Vec<String>,
}

#[derive(Clone, Debug, Default)]
pub struct TreeRow {
    /// `shop/checkout`; the root is `/`.
    pub app: String,
    /// The last segment, or the organization's name at the root.
    pub name: String,
    pub depth: usize,
    pub project: Option<String>,
    pub owners: Vec<String>,
    pub can_write: bool,
    pub can_read: bool,
    /// Whether the visitor may see recent decisions here.
    pub can_audit: bool,
    /// `None`: not the visitor's to see, or nothing came yet.
    pub live: Option<LiveView>,
    /// Alerts that fire now, as far as the gateway was told or asked; `None`: unknown.
    pub firing: Option<u64>,
}

/// What came lately, in this app and beneath.
#[derive(Clone, Debug, Default)]
pub struct LiveView {
    /// Spans, data points and log records, over the last minute.
    pub items_per_second: f64,
    pub bytes_per_second: f64,
    /// Refused or failed exports in the last minute.
    pub errors_per_minute: u64,
    /// RFC 3339.
    pub(crate) last_seen: Option<String>,
    /// `12 s ago`
    pub(crate) last_seen_ago: Option<String>,
}

/// One app.
#[derive(Clone, Debug, Default)]
pub struct AppView {
    pub app: String,
    pub name: String,
    /// Path and name from the root to the parent.
    pub trail: Vec<(String, String)>,
    pub project: Option<String>,
    /// The app that declares the project, if it is another.
    pub(crate) project_home: Option<String>,
    /// Where its data goes, if there are several backends.
    pub backend: Option<String>,
    /// Other backends that get its data, too.
    pub legs: Vec<LegRow>,
    pub owners: Vec<String>,
    /// Paths and names of the apps beneath that lead somewhere.
    pub apps: Vec<(String, String)>,
    pub live: Option<LiveView>,
    pub services: Vec<ServiceRow>,
    /// What the visitor may do here, and which bindings say so.
    pub grants: Vec<GrantRow>,
    /// Copy-ready settings.
    pub snippets: Vec<Snippet>,
    /// Into the backend's own pages.
    pub links: Vec<Link>,
    pub alerts: Vec<AlertRow>,
    pub alert_errors: Vec<String>,
    /// The backend takes telemetry, and cannot be asked.
    pub is_unasked: bool,
    pub can_audit: bool,
}

/// Another backend that gets an app's data.
#[derive(Clone, Debug, Default)]
pub struct LegRow {
    pub backend: String,
    /// `mirror` or `require`
    pub mode: &'static str,
    /// Of all data of the app's project; none where the visitor may not know that.
    pub items: Option<LegItems>,
}

/// What became of items that were to go to two backends, since the gateway started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LegItems {
    pub sent: u64,
    pub accepted: u64,
    pub rejected: u64,
    pub refused: u64,
    pub dropped: u64,
    /// Of the same items by the project's own backend.
    pub accepted_by_own: u64,
}

#[derive(Clone, Debug, Default)]
pub struct ServiceRow {
    pub name: String,
    pub items_per_second: f64,
    pub(crate) last_seen: Option<String>,
    pub(crate) last_seen_ago: Option<String>,
    pub link: Option<String>,
    /// Who sent it, verified.
    pub senders: Vec<SenderRow>,
}

#[derive(Clone, Debug, Default)]
pub struct SenderRow {
    pub subject: String,
    pub(crate) issuer: String,
    pub(crate) method: &'static str,
    pub(crate) last_seen_ago: String,
}

#[derive(Clone, Debug, Default)]
pub struct GrantRow {
    /// `query.streams.read`
    pub permission: String,
    pub bindings: Vec<String>,
}

/// Text to be pasted somewhere; it holds no secret, only where one goes.
#[derive(Clone, Debug, Default)]
pub struct Snippet {
    /// `OpenTelemetry SDK`, `curl`, …
    pub title: String,
    pub text: String,
}

#[derive(Clone, Debug, Default)]
pub struct Link {
    pub title: String,
    pub url: String,
}

#[derive(Clone, Debug, Default)]
pub struct AlertRow {
    pub name: String,
    pub app: String,
    pub project: String,
    /// `firing`, `ok`, `no_data`, `unknown`, or the backend's own word.
    pub state: String,
    pub since: Option<String>,
    pub links: Vec<Link>,
}

/// Why was I refused?
#[derive(Clone, Debug, Default)]
pub struct ExplainView {
    /// As the form was filled in.
    pub request_id: String,
    pub method: String,
    pub path: String,
    pub app: String,
    pub service: String,
    /// What is wrong with what was asked, to be shown at the form.
    pub mistake: Option<String>,
    /// The call with the request id.
    pub found: Option<DecisionRow>,
    /// What would become of the call.
    pub story: Option<Story>,
    /// As of decisions.
    pub(crate) remembered_since: Option<String>,
    /// Whether the call that was found is not the visitor's own.
    pub(crate) is_anothers: bool,
}

/// A call's way through the rooms.
#[derive(Clone, Debug, Default)]
pub struct Story {
    pub allowed: bool,
    pub stages: Vec<Stage>,
    /// What to do about it, in a sentence.
    pub advice: Option<String>,
}

#[derive(Clone, Debug, Default)]
pub struct Stage {
    /// `accept`, `identify`, `authorize`, …
    pub room: String,
    pub outcome: Reason,
    /// Names and values.
    pub details: Vec<(String, String)>,
}

#[derive(Clone, Debug, Default)]
pub struct DecisionsView {
    pub app: String,
    /// Path and name from the root to the app itself.
    pub trail: Vec<(String, String)>,
    /// The newest first.
    pub rows: Vec<DecisionRow>,
    /// RFC 3339: the oldest call that this gateway process remembers; `None`: it remembers none.
    pub(crate) remembered_since: Option<String>,
    /// What was looked for in the audit trail; `None`: the rows are of the memory.
    pub search: Option<Box<SearchView>>,
}

/// A search of the audit trail: what was typed, and what it came to.
#[derive(Clone, Debug, Default)]
pub struct SearchView {
    pub request_id: String,
    pub subject: String,
    pub issuer: String,
    pub operation: String,
    pub decision: String,
    pub reason: String,
    pub status: String,
    pub since: String,
    pub until: String,
    /// RFC 3339: the oldest record that was looked at.
    pub back_to: Option<String>,
    /// Of the trail that were looked at.
    pub bytes: u64,
    /// Whether all was looked at that could fit.
    pub is_whole: bool,
    /// Why nothing was looked at.
    pub mistake: Option<String>,
}

/// One recent call.
#[derive(Clone, Debug, Default)]
pub struct DecisionRow {
    pub time: String,
    pub request_id: String,
    pub subject: String,
    pub issuer: String,
    pub http_method: String,
    pub path: String,
    pub operation: String,
    pub app: String,
    pub decision: String,
    pub reason: Reason,
    pub bindings: Vec<String>,
    pub status: Option<u16>,
}

/// Something went wrong.
#[derive(Clone, Debug, Default)]
pub struct FaultView {
    pub status: u16,
    /// Public words; the reason is in the record.
    pub words: String,
    /// What the visitor can do now.
    pub advice: Option<String>,
    /// The page that was asked for, one of our own: a login leads back to it.
    pub return_to: Option<String>,
}

/// A page, ready to be sent as `text/html; charset=utf-8`.
pub(crate) type Html = String;

/// One file of the site.
#[derive(Clone, Copy, Debug)]
pub struct Asset {
    pub content_type: &'static str,
    pub body: &'static [u8],
}

/// Who turns views into pages.
pub trait Site: Send + Sync {
    fn page(&self, frame: &Frame, page: &Page) -> Html;

    /// A file under `/.lightkeeper/assets/`, whose name changes with its content.
    fn asset(&self, name: &str) -> Option<Asset>;

    /// Security headers for every page (Content-Security-Policy and its kin).
    fn headers(&self) -> &'static [(&'static str, &'static str)];
}
