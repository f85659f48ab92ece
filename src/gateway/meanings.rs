//! What reasons mean to the person who asks why.
//!
//! What it does: has a sentence or two for each reason code: what it means, and what to do about it. What it refuses to know:
//! the call; operators read `docs/reason-codes.md`, which says more. Invariant: every code that is documented there is here.

/// The meaning of a reason code; empty for a word that is none.
pub fn meaning(reason: &str) -> &'static str {
    MEANINGS
        .lines()
        .filter_map(|line| line.split_once(": "))
        .find(|(code, _)| *code == reason)
        .map_or("", |(_, text)| text)
}

/// A line for each: the code, a colon, the text.
const MEANINGS: &str = r#"
ok: It was passed on, and the backend answered.
own_page: A page of the gateway's own, for everybody who is identified.
malformed_request_line: This is no HTTP request. Look for a client that speaks TLS to a plaintext port, or the reverse.
http_version_unsupported: HTTP/1.0 is not spoken here. Set the proxy in between to HTTP/1.1.
method_unknown: No operation has this method.
malformed_target: The target is not a path. Do not set the gateway up as a forward proxy.
ambiguous_path: The path can be read in several ways (an empty segment, dots, an encoded slash). Look for `//` in the endpoint.
malformed_query: The operation knows no such query key, or it stands twice. Compare with the backend's documentation.
malformed_header: A header has a name or value that HTTP does not allow, or a name with `_`. Rename it, or do not send it.
conflicting_headers: A header stands twice that must stand alone. Look for a proxy in between that adds it again.
malformed_host: `Host` is missing, doubled or malformed. Look for a proxy in between.
ambiguous_framing: The length of the body is in doubt. Look for a broken proxy in between.
malformed_chunk: A chunk of the body is malformed. Look for a broken proxy in between.
expectation_unknown: `Expect` asks for something but `100-continue`. Change the client.
upgrade_refused: Nothing is upgraded over HTTP/2. Look for a proxy in between.
conflicting_credentials: Two different credentials came along. Remove one of them from the client's settings.
token_in_url: A token stands in the URL, where proxies write it down. Use another transport, and replace the token.
malformed_grpc_timeout: `grpc-timeout` is no duration. Change the client.
malformed_app_header: `lightkeeper-app` is no app path. Write it as `shop/checkout`.
app_ambiguous: You may write to several apps, and nothing says which is meant. Name one by `/apps/{app}/-/` or `lightkeeper-app`.
service_ambiguous: What decides the app stands there twice, or is no text. Look for a processor that adds `service.name` again.
malformed_grpc_frame: The body is not one gRPC message. Exports are unary.
body_malformed: The body is not the export or report that path and media type promise. Look for JSON sent as protobuf.
body_undecodable: The body is not compressed as its head says. Look for a proxy in between that decompresses.
body_truncated: The body ended early. The client went away, or a proxy in between cut it.
client_closed: The client went away before the end. Give it a longer timeout.
media_type_unsupported: The media type is not taken here. Set the exporter's protocol to `http/protobuf` or `grpc`; queries send JSON in UTF-8.
content_encoding_unsupported: The compression is not known here. Use `gzip`, `zstd`, `deflate` or none.
head_too_large: The head has too many lines or bytes. Send fewer or shorter headers.
body_too_large: The body is larger than is accepted here. Make the exporter's batches smaller.
attributes_too_many: A resource of the export has more attributes than are read. Look for what copies so many onto it.
body_bomb: The body becomes far larger once decompressed. Make the batches smaller.
head_timeout: The head took too long to come.
body_timeout: The body took too long to come, or came too slowly.
path_unknown: Nothing is known of this path and method here. Compare them with the documentation.
no_credential: Nothing said who you are. Log in, or give the client a token or a certificate.
token_too_large: The token is larger than is accepted here. Ask for one with fewer groups.
token_malformed: This is no signed token. Use an access token of your issuer: `lightkeeper token` prints one.
token_critical: The token demands an extension that is not known here.
token_algorithm: The token is signed in a way that is not accepted of its issuer.
token_type: This is not an access token. Send the access token, not the ID token.
token_issuer_unknown: The token's issuer is not known here. Use the company's own.
token_key_unknown: The issuer does not publish the key that signed the token. Fetch a new token.
token_signature: The token's signature does not hold. It may come from another environment.
token_audience: The token was made for somebody else. Ask the issuer for one with the gateway's audience.
token_expired: The token has expired. Fetch a new one; `lightkeeper token` renews it by itself.
token_claims_elsewhere: The token does not say your groups, or something else that decides here: there are too many. Ask who runs the issuer.
token_email_unverified: Your e-mail address is not verified at the issuer. Verify it there, and fetch a new token.
token_lifetime: The token is valid for longer than is accepted here. Ask the issuer for one that lives a shorter time.
token_not_yet_valid: The token is not valid yet. Compare your clock.
token_claims: A claim of the token is missing or malformed. Ask who runs the issuer.
token_bound: The token belongs to a certificate or key that did not come along. Use the one that it was fetched with.
session_expired: The session has ended. Log in again.
session_idle: The session was not used for too long. Log in again.
session_claims_elsewhere: The identity provider does not send your groups along, and they decide here now. Tell an operator.
session_revoked: The session was ended by a logout. Log in again.
login_not_offered: Nobody can log in here with a browser. Use a token or a certificate.
login_origin: The address in the browser cannot be used for a login. Use the gateway's own name.
login_in_the_clear: Logins need `https`. Use the gateway's own name.
login_busy: Too many people log in at once. Reload the page: the login can still be finished.
login_provider_unreachable: The identity provider cannot be reached now. Sessions that are there live on; try again.
login_provider_metadata: The identity provider's settings make no sense here. Tell an operator.
login_provider_answer: The identity provider's answer makes no sense here. Tell an operator.
login_client_refused: The identity provider does not know the gateway. Tell an operator.
login_access_denied: The identity provider, or you, said no.
login_provider_refused: The identity provider refused the login. Try again, or tell an operator.
login_transaction_missing: This browser has begun no login, or keeps no cookies. Begin again.
login_transaction_invalid: The login was begun elsewhere, or under other settings. Begin again.
login_transaction_expired: The login took too long. Begin again.
login_transaction_spent: This login was finished before. Begin again.
login_callback_malformed: The way back from the identity provider is malformed. Begin again.
login_state_mismatch: The answer belongs to another login. Begin again.
login_issuer_mismatch: The answer came from another identity provider. Begin again, and tell an operator if it stays so.
login_code_refused: The identity provider does not take its own code any more. Begin again.
login_id_token_malformed: The identity provider's proof cannot be read. Tell an operator.
login_id_token_algorithm: The identity provider's proof is signed in a way that is not accepted. Tell an operator.
login_id_token_signature: The signature of the identity provider's proof does not hold. Tell an operator.
login_id_token_issuer: The proof is another identity provider's. Tell an operator.
login_id_token_audience: The proof was made for somebody else. Tell an operator.
login_id_token_time: The proof does not hold now. Clocks may differ; begin again.
login_id_token_nonce: The proof belongs to another login. Begin again.
login_id_token_hash: The proof does not fit its token. Begin again.
login_id_token_claims: The proof lacks something, or you are in very many groups. Tell an operator.
login_claims_elsewhere: The identity provider does not send your groups along: you are in too many. Tell an operator.
login_email_unverified: Your e-mail address is not verified at the identity provider. Verify it there, and log in again.
login_keys_unavailable: The identity provider's keys cannot be had now. Try again.
login_userinfo_subject: The identity provider speaks of somebody else. Begin again.
login_session_too_large: You are in too many groups for a session. Tell an operator.
login_unsealed: The gateway cannot make a session now. Try again.
cookie_conflict: One of the gateway's cookies stands twice, or is not the gateway's. It was removed; log in again.
csrf_origin: Something was to be changed by a page that is not the gateway's. Scripts use a token of their own.
csrf_missing: The page is older than your login. Open it again.
query_deadline: The project had not answered when the question's time was over. Ask a smaller part of the tree, or ask again.
states_limit: There are more alerts here than their states are asked for. Ask a smaller part of the tree.
upstream_status: The backend refused the question for this project; the status and its words stand beside.
webhook_unknown: The alert inlet was shown no secret of this app's. Compare the webhook's header with the secret of this very app.
webhook_evidence: The alert inlet takes a secret in Authorization, and something else was shown.
session_invalid: The session cannot be read any more. Log in again.
client_token_unknown: This client token is not known, or was revoked. Ask an operator for another.
client_token_expired: This client token has expired. Ask an operator for another.
certificate_untrusted: The certificate was not issued by an authority that is trusted here.
certificate_expired: The certificate has expired. Renew it.
certificate_not_yet_valid: The certificate is not valid yet. Compare your clock.
certificate_revoked: The certificate was revoked. Ask for a new one.
certificate_malformed: The certificate cannot be read.
certificate_name: The certificate has no name that can be used here.
certificate_out_of_scope: The authority that signed the certificate may not give the name in it.
keys_unavailable: The gateway has no keys of your issuer now. It is not your fault; try again.
revocation_unavailable: The gateway cannot tell now whether certificates were revoked. It is not your fault; try again.
not_permitted: Nothing that you hold allows this here, or there is no such app or project. Compare the name, or ask its owners for access.
denied_by_binding: A binding forbids it, and that beats everything that allows it. Ask the owners of the app.
outside_time_window: Your access here is over, or has not begun. Ask the owners of the app to extend it.
sensitive_not_named: This is a sensitive operation, which a wildcard does not give. Ask for a binding that names it in full.
app_unknown: There is no such app. Compare the path.
app_without_project: Neither the app nor any above it has a project to write to. Ask its owners to give it one.
no_writable_app: There is no app that you may write to. Ask the owners of yours for access.
service_foreign: The service belongs to an app that you may not write to. Compare `service.name`, or ask that app's owners.
service_unknown: No app that you may write to claims this service. Compare `service.name`, or ask the owners of your app to add it.
foreign_project_named: The question names another project, where you do not hold the permission that it takes. Compare its ids and links.
project_unknown: There is no such project. Compare the name.
organization_unknown: There is no such organization here. Compare the name in the path.
operation_unknown: This is no operation of the backend. It is a defect of the gateway; please report it.
evaluation_error: The question does not have the form that its operation needs. It is a defect of the gateway; please report it.
query_rate_exceeded: Your share of the backend's rate is used up for now. Ask less often, or wait as long as the answer says.
over_quota: The quota of the app or of your access is used up for now. Send less, or wait as long as the answer says.
unproven_reads_busy: Too many reports from your address wait to be read. Put the token into the head, or try again.
penalty: Too many of your exports failed lately. Mend what the ones before this one were refused for.
audit_unwritable: The gateway cannot write its records now. It is not your fault; try again.
reading_busy: Too many large bodies wait to be read. It is not your fault; try again.
memory_budget_spent: The gateway has no memory left for this now. It is not your fault; try again.
memory_share_spent: Your calls, or those from your address, hold as much of the gateway's memory as they may. Send fewer or smaller ones at once.
credential_missing: The gateway has no credential for this project. Tell an operator.
credential_mismatch: The gateway disagrees with itself. It is a defect; please report it.
upstream_not_configured: The gateway has no address for this. Tell an operator.
internal_defect: Something that cannot be was. It is a defect of the gateway; please report it.
internal_error: The gateway failed. Please report it.
credential_refused_by_upstream: The backend refuses the gateway's own credential. Tell an operator; your data is wanted again.
upstream_unreachable: The backend cannot be reached now. Try again.
upstream_proxy_unreachable: The proxy on the way to the backend cannot be reached now. Try again.
upstream_proxy_refused: The proxy on the way to the backend lets nothing through to it. Tell an operator if it stays so.
upstream_proxy_broken: What answers on the way to the backend is no proxy, or hangs up. Tell an operator if it stays so.
upstream_proxy_timeout: The proxy on the way to the backend took too long. Try again.
upstream_not_verified: The backend's certificate does not hold. Tell an operator.
deadline_exceeded: Your own deadline passed before the backend answered. Give the client a longer timeout.
upstream_timeout: The backend took too long. Ask for less at once, or try again.
upstream_throttled: The backend takes no more for now. Wait as long as the answer says.
upstream_unavailable: The backend cannot answer now. Try again.
upstream_refused: The backend refuses it for good. Look at its limits on size, age and names.
upstream_page: Something else answered in the backend's place, with a page. Tell an operator; your data is wanted again.
upstream_answer_unusable: The backend's answer makes no sense here. Tell an operator if it stays so.
upstream_answer_too_large: The backend's answer is too large. Ask for less at once.
upstream_answer_undecodable: The backend's answer cannot be read. Tell an operator if it stays so.
upstream_answer_unknown_shape: The backend's answer has a form in which nothing can be hidden from others; it is kept back. Please report it.
upstream_echoed_credential: A backend's answer held a secret of the gateway's, which was blanked. Tell an operator.
projects_failed: None of the projects could be asked. Try again; the answer names them.
alert_malformed: What the backend told of an alert cannot be read.
alert_rate: Too many alerts come for this app at once.
alert_stale: What was told of the alert is too old, or was told before.
alert_underway: The same alert is being passed on right now.
destination_failed: An alert could not be passed on to one of the app's destinations. Tell the app's owners.
cut_off: The connection was cut before there was an answer. Try again.
remembered: The backend had taken this part when the export came before; it was not sent again.
not_sent: The export ended before this part was sent.
connections_total: The gateway has no place for more connections now. Try again.
connections_per_address: Your address has too many connections open. Reuse them.
accept_failed: The gateway could not take the connection. Try again.
handshake_timeout: The TLS handshake took too long.
proxy_header_malformed: A trusted proxy opened the connection without a whole PROXY header. Let it send one, version 1 or 2.
preface_closed: The connection broke off within the bytes with which HTTP/2 begins.
preface_timeout: The bytes with which HTTP/2 begins took too long to come.
proxy_header_timeout: A trusted proxy's PROXY header took too long to come.
handshake_closed: The TLS handshake was broken off by the client. Look whether it trusts the gateway's certificate.
handshake_failed: There is no TLS version or cipher in common, or the client speaks no TLS.
certificate_missing: A client certificate is needed here. Set one up in the client.
http2_malformed_request: The head over HTTP/2 lacks a part or has one twice, or has a field that HTTP/2 forbids.
http2_head_too_large: The head of the request is too large. Send fewer or shorter headers.
http2_protocol_error: The client or a proxy before it sent frames that HTTP/2 does not allow there.
http2_flow_control_error: The client sent more than it was allowed to, or widened a window too far.
http2_settings_timeout: The client did not confirm the connection's settings in time.
http2_stream_closed: The client went on with a request that had ended.
http2_frame_size_error: The client sent a frame of a wrong length, or a longer one than we take.
http2_stream_refused: Too many requests are open on this connection at once. Send fewer at once.
http2_compression_error: The compressed headers cannot be read; the connection ended.
http2_flood: The client opened and ended requests without end; the connection ended.
started: The gateway listens.
stopped: The gateway has ended.
unclean_stop: The process before did not end cleanly; some numbers of records may stand for none.
configuration_taken_over: A new configuration is in force.
configuration_refused: A new configuration was wrong; the last good one stays.
"#;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Scenario: somebody adds a reason code. Guarantees that people who ask why are told what it means.
    #[test]
    fn every_documented_code_has_a_meaning() {
        let page = include_str!("../../docs/reason-codes.md");
        let documented: BTreeSet<&str> = page
            .lines()
            .filter_map(|line| line.strip_prefix("| `"))
            .filter_map(|line| line.split_once('`').map(|(code, _)| code))
            .collect();
        assert!(documented.len() > 80);
        let missing: Vec<&str> = documented.into_iter().filter(|code| meaning(code).is_empty()).collect();
        assert_eq!(missing, [""; 0], "without a meaning");
        for line in MEANINGS.lines().filter(|line| !line.is_empty()) {
            let (code, text) = line.split_once(": ").unwrap();
            assert!(text.ends_with('.') && text.len() > 15, "{code}");
            assert_eq!(meaning(code), text, "{code} stands twice");
        }
        assert_eq!(meaning("unheard"), "");
        assert_eq!(meaning(""), "");
    }
}
