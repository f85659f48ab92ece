//! Every reason code: one row each.
//!
//! A row says name, code, class (a dash where nothing is answered), who is to blame, what it means to the person who asks why,
//! and what that person can do. What it refuses to know: what the words do; `super` gives them out. Invariants: a code is
//! stable, and never changes its meaning; docs/reason-codes.md repeats the rows for operators, and says more of each.

use super::{Blame, Class, Row};

reasons! {
    // It went well.
    Ok "ok" [-] Nothing
        "It was passed on, and the backend answered." "";
    OwnPage "own_page" [-] Nothing
        "A page of the gateway's own, for everybody who is identified." "";
    // The request cannot be read in one way only.
    MalformedRequestLine "malformed_request_line" [Malformed] Caller
        "This is no HTTP request." "Look for a client that speaks TLS to a plaintext port, or the reverse.";
    HttpVersionUnsupported "http_version_unsupported" [Version] Caller
        "HTTP/1.0 is not spoken here." "Set the proxy in between to HTTP/1.1.";
    MethodUnknown "method_unknown" [Malformed] Caller
        "No operation has this method." "";
    MalformedTarget "malformed_target" [Malformed] Caller
        "The target is not a path." "Do not set the gateway up as a forward proxy.";
    AmbiguousPath "ambiguous_path" [Malformed] Caller
        "The path can be read in several ways (an empty segment, dots, an encoded slash)." "Look for `//` in the endpoint.";
    MalformedQuery "malformed_query" [Malformed] Caller
        "The operation knows no such query key, or it stands twice." "Compare with the backend's documentation.";
    MalformedHeader "malformed_header" [Malformed] Caller
        "A header has a name or value that HTTP does not allow, or a name with `_`." "Rename it, or do not send it.";
    ConflictingHeaders "conflicting_headers" [Malformed] Caller
        "A header stands twice that must stand alone." "Look for a proxy in between that adds it again.";
    MalformedHost "malformed_host" [Malformed] Caller
        "`Host` is missing, doubled or malformed." "Look for a proxy in between.";
    AmbiguousFraming "ambiguous_framing" [Malformed] Caller
        "The length of the body is in doubt." "Look for a broken proxy in between.";
    MalformedChunk "malformed_chunk" [MalformedBody] Caller
        "A chunk of the body is malformed." "Look for a broken proxy in between.";
    ExpectationUnknown "expectation_unknown" [Malformed] Caller
        "`Expect` asks for something but `100-continue`." "Change the client.";
    UpgradeRefused "upgrade_refused" [Malformed] Caller
        "Nothing is upgraded over HTTP/2." "Look for a proxy in between.";
    ConflictingCredentials "conflicting_credentials" [Malformed] Caller
        "Two different credentials came along." "Remove one of them from the client's settings.";
    CookieConflict "cookie_conflict" [Malformed] Caller
        "One of the gateway's cookies stands twice, is not the gateway's, or is not needed behind this proxy."
        "It was removed; try again.";
    TokenInUrl "token_in_url" [Malformed] Caller
        "A token stands in the URL, where proxies write it down." "Use another transport, and replace the token.";
    MalformedGrpcTimeout "malformed_grpc_timeout" [Malformed] Caller
        "`grpc-timeout` is no duration." "Change the client.";
    MalformedAppHeader "malformed_app_header" [Malformed] Caller
        "`lightkeeper-app` is no app path." "Write it as `shop/checkout`.";
    AppAmbiguous "app_ambiguous" [AppUnclear] Caller
        "You may write to several apps, and nothing says which is meant." "Name one by `/apps/{app}/-/` or `lightkeeper-app`.";
    ServiceAmbiguous "service_ambiguous" [AppUnclear] Caller
        "What decides the app stands there twice, or is no text." "Look for a processor that adds `service.name` again.";
    MalformedGrpcFrame "malformed_grpc_frame" [MalformedBody] Caller
        "The body is not one gRPC message." "Exports are unary.";
    BodyMalformed "body_malformed" [MalformedBody] Caller
        "The body is not the export or report that path and media type promise." "Look for JSON sent as protobuf.";
    BodyUndecodable "body_undecodable" [MalformedBody] Caller
        "The body is not compressed as its head says." "Look for a proxy in between that decompresses.";
    BodyTruncated "body_truncated" [MalformedBody] Caller
        "The body ended early." "The client went away, or a proxy in between cut it.";
    HeadTruncated "head_truncated" [Malformed] Connection
        "The connection ended within the head." "The client went away, or a proxy in between cut it.";
    ClientClosed "client_closed" [Malformed] Connection
        "The client went away before the end." "Give it a longer timeout.";
    MediaTypeUnsupported "media_type_unsupported" [Unsupported] Caller
        "The media type is not taken here." "Set the exporter's protocol to `http/protobuf` or `grpc`; queries send JSON in UTF-8.";
    FormNotTaken "form_not_taken" [Unsupported] Caller
        "The backend has no way in for this signal or format." "Ask an operator which signals the app's backend takes.";
    ContentEncodingUnsupported "content_encoding_unsupported" [Unsupported] Caller
        "The compression is not known here." "Use `gzip`, `zstd`, `deflate` or none.";
    HeadTooLarge "head_too_large" [HeadTooLarge] Caller
        "The head has too many lines or bytes." "Send fewer or shorter headers.";
    BodyTooLarge "body_too_large" [BodyTooLarge] Caller
        "The body is larger than is accepted here." "Make the exporter's batches smaller.";
    AttributesTooMany "attributes_too_many" [BodyTooLarge] Caller
        "A resource of the export has more attributes than are read." "Look for what copies so many onto it.";
    BodyBomb "body_bomb" [BodyTooLarge] Caller
        "The body becomes far larger once decompressed." "Make the batches smaller.";
    TooLargeForBackend "too_large_for_backend" [BodyTooLarge] Caller
        "The export is larger than its backend takes, and cannot be cut smaller." "Make resources smaller: what stands round the items leaves no room for them.";
    HeadTimeout "head_timeout" [TooSlow] Caller
        "The head took too long to come." "";
    BodyTimeout "body_timeout" [TooSlow] Caller
        "The body took too long to come, or came too slowly." "";
    PathUnknown "path_unknown" [Unknown] Caller
        "Nothing is known of this path and method here." "Compare them with the documentation.";
    NoQueryApi "no_query_api" [NoQuery] Caller
        "The backend takes telemetry and has no query API." "Ask the backend itself, or its own pages.";
    // Who calls cannot be proven.
    NoCredential "no_credential" [NotAuthenticated] Caller
        "Nothing said who you are." "Log in, or give the client a token or a certificate.";
    /// Larger than `limits.token`.
    TokenTooLarge "token_too_large" [BadCredential] Caller
        "The token is larger than is accepted here." "Ask for one with fewer groups.";
    /// Not a compact JWS with strict base64url and strict JSON (RFC 7515 section 3.1, RFC 8725 section 2.13).
    TokenMalformed "token_malformed" [BadCredential] Caller
        "This is no signed token." "Use an access token of your issuer: `lightkeeper token` prints one.";
    /// `crit` or `b64` in the header (RFC 7515 section 4.1.11, RFC 7797 section 6).
    TokenCritical "token_critical" [BadCredential] Caller
        "The token demands an extension that is not known here." "";
    /// `alg` is not on the issuer's list, or the key is for another algorithm (RFC 8725 section 3.1).
    TokenAlgorithm "token_algorithm" [BadCredential] Caller
        "The token is signed in a way that is not accepted of its issuer." "";
    /// `typ` is not on the issuer's list, it is an ID token (or an access token) where the issuer's `tokens` takes
    /// none, or a logout token (RFC 8725 section 3.11).
    TokenType "token_type" [BadCredential] Caller
        "This is not an access token." "Send the access token, not the ID token.";
    /// `iss` is no configured issuer's (RFC 8725 section 3.8).
    TokenIssuerUnknown "token_issuer_unknown" [BadCredential] Caller
        "The token's issuer is not known here." "Use the company's own.";
    /// It stands in the header of a proxy's assertions, which its issuer does not name.
    TokenPlace "token_place" [BadCredential] Caller
        "The token stands in a header that the gateway does not read this issuer's tokens from." "Tell an operator.";
    TokenKeyUnknown "token_key_unknown" [BadCredential] Caller
        "The issuer does not publish the key that signed the token." "Fetch a new token.";
    TokenSignature "token_signature" [BadCredential] Caller
        "The token's signature does not hold." "It may come from another environment.";
    /// `aud` does not name us (RFC 8725 section 3.9).
    TokenAudience "token_audience" [BadCredential] Caller
        "The token was made for another audience." "Ask the issuer for one with the gateway's audience.";
    TokenExpired "token_expired" [BadCredential] Caller
        "The token has expired." "Fetch a new one; `lightkeeper token` renews it by itself.";
    /// A claim that the policy looks at is not in the token, which says that it is elsewhere (OpenID Connect Core
    /// section 5.6.2, Microsoft Entra's overage).
    TokenClaimsElsewhere "token_claims_elsewhere" [BadCredential] Caller
        "The token does not say your groups, or something else that decides here: there are too many." "Ask who runs the issuer.";
    TokenEmailUnverified "token_email_unverified" [BadCredential] Caller
        "Your e-mail address is not verified at the issuer." "Verify it there, and fetch a new token.";
    TokenLifetime "token_lifetime" [BadCredential] Caller
        "The token is valid for longer than is accepted here." "Ask the issuer for one that lives a shorter time.";
    TokenNotYetValid "token_not_yet_valid" [BadCredential] Caller
        "The token is not valid yet." "Compare your clock.";
    TokenClaims "token_claims" [BadCredential] Caller
        "A claim of the token is missing or malformed." "Ask who runs the issuer.";
    /// `cnf` binds the token to something that was not proven on this connection (RFC 8705, RFC 9449).
    TokenBound "token_bound" [BadCredential] Caller
        "The token belongs to a certificate or key that did not come along." "Use the one that it was fetched with.";
    /// No `jkt` in `cnf`, under the scheme `DPoP` or of an issuer all of whose tokens must be bound (RFC 9449 section 7.1).
    TokenUnbound "token_unbound" [BadCredential] Caller
        "The token is bound to no key, and is only taken if it is." "Log in with `lightkeeper login --dpop`, or ask who runs the issuer.";
    /// Under the scheme `DPoP` (RFC 9449 section 7.1).
    ProofMissing "proof_missing" [BadCredential] Caller
        "No proof came along with the token." "Send one in `DPoP` with every call.";
    /// A `dpop` header beside another scheme than `DPoP`, or beside nothing.
    ProofScheme "proof_scheme" [BadCredential] Caller
        "A proof came along without a token that needs one." "Write `Authorization: DPoP` before the token, or do not send the proof.";
    /// No JWS of RFC 9449 section 4.2, more than one, or larger than 8 KiB.
    ProofMalformed "proof_malformed" [BadCredential] Caller
        "This is no proof of possession." "";
    /// The key is not the token's, is not public, or is none that counts.
    ProofKey "proof_key" [BadCredential] Caller
        "The proof is of another key than the token's." "Use the key that the token was fetched with.";
    ProofSignature "proof_signature" [BadCredential] Caller
        "The proof's signature does not hold." "";
    /// `htm` or `htu`.
    ProofRequest "proof_request" [BadCredential] Caller
        "The proof is for another method or address." "Make it for the address that the gateway is known by, its `public_url`.";
    /// `ath`.
    ProofToken "proof_token" [BadCredential] Caller
        "The proof is for another token." "";
    /// `iat`.
    ProofTime "proof_time" [BadCredential] Caller
        "The proof is too old, or not valid yet." "Compare your clock, and make a proof for each call.";
    /// Without one of ours that is good now: the answer brings one (RFC 9449 section 9).
    ProofNonce "proof_nonce" [BadCredential] Caller
        "The proof lacks the gateway's nonce." "Repeat the call with the one that the answer brought.";
    ProofReplayed "proof_replayed" [BadCredential] Caller
        "The proof was used before." "Make one for each call.";
    /// The listener has no `public_url` that a proof could be compared with, and offers no scheme for one.
    ProofAddress "proof_address" [BadCredential] Caller
        "No proofs are taken at this address." "Use the gateway's own name, or ask an operator to give it one (`public_url`).";
    /// The machine gives no random bytes.
    ProofNonceUnsealed "proof_nonce_unsealed" [Unavailable] Gateway
        "The gateway cannot make a nonce now." "Try again.";
    /// Not a presigned `GetCallerIdentity` for EKS in its one spelling, or not for the region of its host.
    AwsProofMalformed "aws_proof_malformed" [BadCredential] Caller
        "This is no signed call to AWS that is taken here." "Make it as `aws eks get-token` does.";
    AwsHostUnknown "aws_host_unknown" [BadCredential] Caller
        "The call to AWS was signed for another region than those that are taken here." "Sign for the region that an operator names.";
    /// AWS says that the signature does not hold: over the audience, with these keys, or any more.
    AwsRefused "aws_refused" [BadCredential] Caller
        "AWS says that your signature does not hold." "Sign for the gateway's own audience, with credentials that have not expired.";
    AwsAccountUnknown "aws_account_unknown" [Denied] Caller
        "Your AWS account may do nothing here." "Ask an operator to name it.";
    /// AWS said who it is, and no policy can name it: neither a role nor a user, or a user beneath an odd path.
    AwsCallerUnnamed "aws_caller_unnamed" [Denied] Caller
        "AWS knows you by a name that is not taken here." "Call as a role, or as a user whose path has plain parts.";
    ClientTokenUnknown "client_token_unknown" [BadCredential] Caller
        "This client token is not known, or was revoked." "Ask an operator for another.";
    ClientTokenExpired "client_token_expired" [BadCredential] Caller
        "This client token has expired." "Ask an operator for another.";
    /// By the operator's file of revocations, by the provider's logout, or by a security event.
    ProofRevoked "proof_revoked" [BadCredential] Caller
        "Your token, session or certificate was revoked." "Log in again, or fetch a new one.";
    SessionInvalid "session_invalid" [BadCredential] Caller
        "The session cannot be read any more." "Log in again.";
    SessionExpired "session_expired" [BadCredential] Caller
        "The session has ended." "Log in again.";
    SessionIdle "session_idle" [BadCredential] Caller
        "The session was not used for too long." "Log in again.";
    SessionRevoked "session_revoked" [BadCredential] Caller
        "The session was ended by a logout." "Log in again.";
    SessionClaimsElsewhere "session_claims_elsewhere" [BadCredential] Caller
        "The identity provider does not send your groups along, and they decide here now." "Tell an operator.";
    WebhookUnknown "webhook_unknown" [BadCredential] Caller
        "The alert inlet was shown no secret of this app's." "Compare the webhook's header with the secret of this very app.";
    WebhookEvidence "webhook_evidence" [BadCredential] Caller
        "The alert inlet takes a secret in Authorization, and something else was shown." "";
    CertificateUntrusted "certificate_untrusted" [BadCredential] Caller
        "The certificate was not issued by an authority that is trusted here." "";
    CertificateExpired "certificate_expired" [BadCredential] Caller
        "The certificate has expired." "Renew it.";
    CertificateNotYetValid "certificate_not_yet_valid" [BadCredential] Caller
        "The certificate is not valid yet." "Compare your clock.";
    CertificateRevoked "certificate_revoked" [BadCredential] Caller
        "The certificate was revoked." "Ask for a new one.";
    CertificateMalformed "certificate_malformed" [BadCredential] Caller
        "The certificate cannot be read." "";
    /// It has no name that we can use, or breaks the X.509-SVID rules while claiming to be one.
    CertificateName "certificate_name" [BadCredential] Caller
        "The certificate has no name that can be used here." "";
    /// Its authority is not configured for its SPIFFE trust domain, or for any of its DNS names (SPIFFE Trust Domain
    /// and Bundle section 4).
    CertificateOutOfScope "certificate_out_of_scope" [BadCredential] Caller
        "The authority that signed the certificate may not give the name in it." "";
    KeysUnavailable "keys_unavailable" [Unavailable] Provider
        "The gateway has no keys of your issuer now." "It is not your fault; try again.";
    RevocationUnavailable "revocation_unavailable" [Unavailable] Operator
        "The gateway cannot tell now whether certificates were revoked." "It is not your fault; try again.";
    AwsUnavailable "aws_unavailable" [Unavailable] Provider
        "AWS does not say now who signed." "It is not your fault; try again.";
    ProofsBusy "proofs_busy" [Unavailable] Gateway
        "Too many proofs are being judged elsewhere now." "It is not your fault; try again.";
    ProofsPenalty "proofs_penalty" [Unavailable] Gateway
        "From your address came too many proofs that did not hold." "Wait a minute, and look for a client with wrong credentials.";
    ProofsTimeout "proofs_timeout" [Unavailable] Provider
        "Who judges your proof did not answer in time." "It is not your fault; try again.";
    TokenInactive "token_inactive" [BadCredential] Caller
        "Who issued the token says that it does not count." "Get a new one; it was revoked, has expired, or its bearer is gone.";
    TokenNotOpaque "token_not_opaque" [BadCredential] Caller
        "The token is a JWT, and its issuer gives out none that count here." "Show the opaque token that the issuer gave you.";
    IntrospectionUnavailable "introspection_unavailable" [Unavailable] Provider
        "Your issuer cannot be asked about the token now." "It is not your fault; try again.";
    IntrospectionClient "introspection_client" [Unavailable] Operator
        "Your issuer does not answer this gateway." "It is not your fault; try again.";
    IntrospectionAnswer "introspection_answer" [Unavailable] Provider
        "Your issuer's answer about the token cannot be read." "It is not your fault; try again.";
    ReviewUnavailable "review_unavailable" [Unavailable] Provider
        "Your cluster cannot be asked about the token now." "It is not your fault; try again.";
    ReviewForbidden "review_forbidden" [Unavailable] Operator
        "Your cluster does not review tokens for this gateway." "It is not your fault; try again.";
    ReviewAnswer "review_answer" [Unavailable] Provider
        "Your cluster's review of the token cannot be read." "It is not your fault; try again.";
    // A login fails.
    LoginNotOffered "login_not_offered" [Unknown] Caller
        "No login with a browser is offered here." "Use a token or a certificate.";
    LoginOrigin "login_origin" [Malformed] Caller
        "The address in the browser cannot be used for a login." "Use the gateway's own name.";
    LoginBusy "login_busy" [Unavailable] Gateway
        "Too many people log in at once." "Reload the page: the login can still be finished.";
    LoginProviderUnreachable "login_provider_unreachable" [Unavailable] Provider
        "The identity provider cannot be reached now." "Sessions that are there live on; try again.";
    /// The discovery document is not the issuer's, names no usable endpoint, or lists PKCE methods without S256 (RFC
    /// 9700 section 2.1.1).
    LoginProviderMetadata "login_provider_metadata" [Unavailable] Provider
        "The identity provider's settings make no sense here." "Tell an operator.";
    /// What the token endpoint or userinfo answers is not what OpenID Connect Core promises.
    LoginProviderAnswer "login_provider_answer" [Unavailable] Provider
        "The identity provider's answer makes no sense here." "Tell an operator.";
    /// The provider does not take our client id or secret (RFC 6749 section 5.2).
    LoginClientRefused "login_client_refused" [Unavailable] Operator
        "The identity provider does not know the gateway." "Tell an operator.";
    /// The user or the provider said no: `access_denied` (RFC 6749 section 4.1.2.1).
    LoginAccessDenied "login_access_denied" [Denied] Caller
        "The identity provider, or you, said no." "";
    LoginProviderRefused "login_provider_refused" [Malformed] Caller
        "The identity provider refused the login." "Try again, or tell an operator.";
    LoginTransactionMissing "login_transaction_missing" [Malformed] Caller
        "This browser has begun no login, or keeps no cookies." "Begin again.";
    LoginTransactionInvalid "login_transaction_invalid" [Malformed] Caller
        "The login was begun elsewhere, or under other settings." "Begin again.";
    LoginTransactionExpired "login_transaction_expired" [Malformed] Caller
        "The login took too long." "Begin again.";
    LoginTransactionSpent "login_transaction_spent" [Malformed] Caller
        "This login was finished before." "Begin again.";
    LoginCallbackMalformed "login_callback_malformed" [Malformed] Caller
        "The way back from the identity provider is malformed." "Begin again.";
    /// `state` is not the transaction's (RFC 6749 section 10.12).
    LoginStateMismatch "login_state_mismatch" [Malformed] Caller
        "The answer belongs to another login." "Begin again.";
    /// `iss` is missing though promised, or another issuer's (RFC 9207 section 2.4).
    LoginIssuerMismatch "login_issuer_mismatch" [Malformed] Caller
        "The answer came from another identity provider." "Begin again, and tell an operator if it stays so.";
    LoginCodeRefused "login_code_refused" [Malformed] Caller
        "The identity provider does not take its own code any more." "Begin again.";
    LoginIdTokenMalformed "login_id_token_malformed" [Malformed] Caller
        "The identity provider's proof cannot be read." "Tell an operator.";
    LoginIdTokenAlgorithm "login_id_token_algorithm" [Malformed] Caller
        "The identity provider's proof is signed in a way that is not accepted." "Tell an operator.";
    LoginIdTokenSignature "login_id_token_signature" [Malformed] Caller
        "The signature of the identity provider's proof does not hold." "Tell an operator.";
    LoginIdTokenIssuer "login_id_token_issuer" [Malformed] Caller
        "The proof is another identity provider's." "Tell an operator.";
    LoginIdTokenAudience "login_id_token_audience" [Malformed] Caller
        "The proof was made for another client." "Tell an operator.";
    LoginIdTokenTime "login_id_token_time" [Malformed] Caller
        "The proof does not hold now." "Clocks may differ; begin again.";
    LoginIdTokenNonce "login_id_token_nonce" [Malformed] Caller
        "The proof belongs to another login." "Begin again.";
    LoginIdTokenHash "login_id_token_hash" [Malformed] Caller
        "The proof does not fit its token." "Begin again.";
    LoginIdTokenClaims "login_id_token_claims" [Malformed] Caller
        "The proof lacks something, or you are in very many groups." "Tell an operator.";
    /// The policy looks at groups or a claim of which the provider says that it is elsewhere (Core section 5.6.2).
    LoginClaimsElsewhere "login_claims_elsewhere" [Denied] Caller
        "The identity provider does not send your groups along: you are in too many." "Tell an operator.";
    LoginEmailUnverified "login_email_unverified" [Denied] Caller
        "Your e-mail address is not verified at the identity provider." "Verify it there, and log in again.";
    LoginKeysUnavailable "login_keys_unavailable" [Unavailable] Provider
        "The identity provider's keys cannot be had now." "Try again.";
    /// Userinfo is about another subject than the ID token (OpenID Connect Core section 5.3.2).
    LoginUserinfoSubject "login_userinfo_subject" [Malformed] Caller
        "The identity provider speaks of another person." "Begin again.";
    LoginSessionTooLarge "login_session_too_large" [Malformed] Caller
        "You are in too many groups for a session." "Tell an operator.";
    LoginUnsealed "login_unsealed" [Unavailable] Gateway
        "The gateway cannot make a session now." "Try again.";
    // A provider tells that proofs have ended, in a message that is not taken.
    PushUnproven "push_unproven" [BadCredential] Caller
        "The push did not show the token that was agreed with its sender." "";
    /// OpenID Connect Back-Channel Logout section 2.6, point 8.
    RevocationRepeated "revocation_repeated" [Malformed] Caller
        "This logout token was taken before." "";
    /// RFC 9493: `iss_sub`, `email` and `opaque` are read.
    RevocationSubject "revocation_subject" [Malformed] Caller
        "The event names its subject in a form that is not read." "Let the transmitter name it by `iss_sub`.";
    RevocationForeign "revocation_foreign" [Denied] Caller
        "The event is about a subject that its sender does not speak for." "Tell an operator.";
    SecurityEventOld "security_event_old" [Denied] Caller
        "The event is so old that it can end nothing any more." "Tell an operator.";
    RevocationsFull "revocations_full" [Unavailable] Gateway
        "The gateway can remember no more of what has ended." "Try again.";
    // The policy says no.
    NotPermitted "not_permitted" [Denied] Caller
        "Nothing that you hold allows this here, or there is no such app or project." "Compare the name, or ask its owners for access.";
    DeniedByBinding "denied_by_binding" [Denied] Caller
        "A binding forbids it, and that beats everything that allows it." "Ask the owners of the app.";
    OutsideTimeWindow "outside_time_window" [Denied] Caller
        "Your access here is over, or has not begun." "Ask the owners of the app to extend it.";
    SensitiveNotNamed "sensitive_not_named" [Denied] Caller
        "This is a sensitive operation, which a wildcard does not give." "Ask for a binding that names it in full.";
    AppUnknown "app_unknown" [Denied] Caller
        "There is no such app." "Compare the path.";
    AppWithoutProject "app_without_project" [Denied] Caller
        "Neither the app nor any above it has a project to write to." "Ask its owners to give it one.";
    NoWritableApp "no_writable_app" [Denied] Caller
        "There is no app that you may write to." "Ask the owners of yours for access.";
    ServiceForeign "service_foreign" [Denied] Caller
        "The service belongs to an app that you may not write to." "Compare `service.name`, or ask that app's owners.";
    ServiceUnknown "service_unknown" [Denied] Caller
        "No app that you may write to claims this service." "Compare `service.name`, or ask the owners of your app to add it.";
    ProjectUnknown "project_unknown" [Denied] Caller
        "There is no such project." "Compare the name.";
    ForeignProjectNamed "foreign_project_named" [Denied] Caller
        "The question names another project, where you do not hold the permission that it takes." "Compare its ids and links.";
    OrganizationUnknown "organization_unknown" [Denied] Caller
        "There is no such organization here." "Compare the name in the path.";
    OperationUnknown "operation_unknown" [Denied] Gateway
        "This is no operation of the backend." "It is a defect of the gateway; please report it.";
    EvaluationError "evaluation_error" [Denied] Gateway
        "The question does not have the form that its operation needs." "It is a defect of the gateway; please report it.";
    // A browser logs in, and what its session may do.
    LoginInTheClear "login_in_the_clear" [Malformed] Caller
        "Logins need `https`." "Use the gateway's own name.";
    CsrfOrigin "csrf_origin" [Denied] Caller
        "Something was to be changed by a page that is not the gateway's." "Scripts use a token of their own.";
    CsrfMissing "csrf_missing" [Denied] Caller
        "The page is older than your login." "Open it again.";
    // Too much, or in vain too often.
    OverQuota "over_quota" [Throttled(1)] Caller
        "The quota of the app or of your access is used up for now." "Send less, or wait as long as the answer says.";
    QueryRateExceeded "query_rate_exceeded" [Throttled(1)] Caller
        "Your share of the backend's rate is used up for now." "Ask less often, or wait as long as the answer says.";
    MemoryShareSpent "memory_share_spent" [Throttled(1)] Caller
        "Your calls, or those from your address, hold as much of the gateway's memory as they may." "Send fewer or smaller ones at once.";
    Penalty "penalty" [Throttled(1)] Caller
        "Too many of your exports failed lately." "Mend what the ones before this one were refused for.";
    UnprovenReadsBusy "unproven_reads_busy" [Unavailable] Gateway
        "Too many reports from your address wait to be read." "Put the token into the head, or try again.";
    // Alerts.
    AlertMalformed "alert_malformed" [MalformedBody] Caller
        "What the backend told of an alert cannot be read." "";
    AlertStale "alert_stale" [MalformedBody] Caller
        "What was told of the alert is too old, or was told before." "";
    AlertRate "alert_rate" [Throttled(1)] Caller
        "Too many alerts come for this app at once." "";
    AlertUnderway "alert_underway" [Unavailable] Gateway
        "The same alert is being passed on right now." "";
    DestinationFailed "destination_failed" [UpstreamBroken] Backend
        "An alert could not be passed on to one of the app's destinations." "Tell the app's owners.";
    // We cannot, though it may be allowed.
    AuditUnwritable "audit_unwritable" [Unavailable] Gateway
        "The gateway cannot write its records now." "It is not your fault; try again.";
    AuditSinkFull "audit_sink_full" [Unavailable] Gateway
        "Too many records wait for a place that must have every one of them." "It is not your fault; try again.";
    ReadingBusy "reading_busy" [Unavailable] Gateway
        "Too many large bodies wait to be read." "It is not your fault; try again.";
    MemoryBudgetSpent "memory_budget_spent" [Unavailable] Gateway
        "The gateway has no memory left for this now." "It is not your fault; try again.";
    CredentialMissing "credential_missing" [Unavailable] Operator
        "The gateway has no credential for this project." "Tell an operator.";
    CredentialMismatch "credential_mismatch" [Unavailable] Gateway
        "The gateway disagrees with itself." "It is a defect; please report it.";
    UpstreamNotConfigured "upstream_not_configured" [Unavailable] Operator
        "The gateway has no address for this." "Tell an operator.";
    InternalDefect "internal_defect" [Unavailable] Gateway
        "Something that cannot be was." "It is a defect of the gateway; please report it.";
    InternalError "internal_error" [Unavailable] Gateway
        "The gateway failed." "Please report it.";
    CredentialRefusedByUpstream "credential_refused_by_upstream" [UpstreamRefusesUs] Operator
        "The backend refuses the gateway's own credential." "Tell an operator; your data is wanted again.";
    UpstreamUnreachable "upstream_unreachable" [UpstreamBroken] Backend
        "The backend cannot be reached now." "Try again.";
    UpstreamProxyUnreachable "upstream_proxy_unreachable" [UpstreamBroken] Backend
        "The proxy on the way to the backend cannot be reached now." "Try again.";
    UpstreamProxyRefused "upstream_proxy_refused" [UpstreamBroken] Backend
        "The proxy on the way to the backend lets nothing through to it." "Tell an operator if it stays so.";
    UpstreamProxyBroken "upstream_proxy_broken" [UpstreamBroken] Backend
        "What answers on the way to the backend is no proxy, or hangs up." "Tell an operator if it stays so.";
    UpstreamProxyTimeout "upstream_proxy_timeout" [UpstreamTimeout] Backend
        "The proxy on the way to the backend took too long." "Try again.";
    UpstreamNotVerified "upstream_not_verified" [UpstreamBroken] Operator
        "The backend's certificate does not hold." "Tell an operator.";
    DeadlineExceeded "deadline_exceeded" [UpstreamTimeout] Backend
        "Your own deadline passed before the backend answered." "Give the client a longer timeout.";
    UpstreamTimeout "upstream_timeout" [UpstreamTimeout] Backend
        "The backend took too long." "Ask for less at once, or try again.";
    ProjectsFailed "projects_failed" [UpstreamBroken] Backend
        "None of the projects could be asked." "Try again; the answer names them.";
    QueryDeadline "query_deadline" [UpstreamTimeout] Backend
        "The project had not answered when the question's time was over." "Ask a smaller part of the tree, or ask again.";
    UpstreamStatus "upstream_status" [UpstreamBroken] Backend
        "The backend refused the question for this project; the status and its words stand beside." "";
    StatesLimit "states_limit" [Unavailable] Gateway
        "There are more alerts here than their states are asked for." "Ask a smaller part of the tree.";
    UpstreamThrottled "upstream_throttled" [Throttled(1)] Backend
        "The backend takes no more for now." "Wait as long as the answer says.";
    UpstreamUnavailable "upstream_unavailable" [Unavailable] Backend
        "The backend cannot answer now." "Try again.";
    UpstreamRefused "upstream_refused" [RefusedUpstream] Backend
        "The backend refuses it for good." "Look at its limits on size, age and names.";
    UpstreamAnswerUnusable "upstream_answer_unusable" [UpstreamBroken] Backend
        "The backend's answer makes no sense here." "Tell an operator if it stays so.";
    UpstreamFormRefused "upstream_form_refused" [UpstreamBroken] Operator
        "The backend does not take the encoding or compression that the gateway put the export into, which its profile promises." "Correct `accepts` in the backend's profile; exporters come again.";
    UpstreamPage "upstream_page" [UpstreamBroken] Backend
        "Something else answered in the backend's place, with a page." "Tell an operator; your data is wanted again.";
    UpstreamAnswerTooLarge "upstream_answer_too_large" [UpstreamBroken] Backend
        "The backend's answer is too large." "Ask for less at once.";
    UpstreamAnswerUndecodable "upstream_answer_undecodable" [UpstreamBroken] Backend
        "The backend's answer cannot be read." "Tell an operator if it stays so.";
    UpstreamAnswerUnknownShape "upstream_answer_unknown_shape" [UpstreamBroken] Backend
        "The backend's answer has a form in which nothing can be hidden from others; it is kept back." "Please report it.";
    CutOff "cut_off" [-] Gateway
        "The connection was cut before there was an answer." "Try again.";
    // Parts of a call.
    Remembered "remembered" [-] Nothing
        "The backend had taken this part when the export came before; it was not sent again." "";
    NotSent "not_sent" [-] Nothing
        "The export ended before this part was sent." "";
    Mirrored "mirrored" [-] Nothing
        "A copy waits for another backend; what becomes of it changes no answer." "";
    MirrorFull "mirror_full" [-] Operator
        "There is no room for a copy for another backend; it was dropped." "";
    MirrorLate "mirror_late" [-] Backend
        "The other backend did not take a copy in time; it was dropped." "";
    MirrorWithdrawn "mirror_withdrawn" [-] Nothing
        "The policy no longer wants a copy that waited; it was dropped." "";
    DestinationRefused "destination_refused" [-] Backend
        "The destination did not take the alert." "Tell the app's owners.";
    // Before there is a request.
    ConnectionsTotal "connections_total" [-] Gateway
        "The gateway has no place for more connections now." "Try again.";
    ConnectionsPerAddress "connections_per_address" [-] Caller
        "Your address has too many connections open." "Reuse them.";
    ProxyHeaderMalformed "proxy_header_malformed" [-] Operator
        "A trusted proxy opened the connection without a whole PROXY header." "Let it send one, version 1 or 2.";
    ProxyHeaderTimeout "proxy_header_timeout" [-] Operator
        "A trusted proxy's PROXY header took too long to come." "";
    PrefaceClosed "preface_closed" [-] Connection
        "The connection broke off within the bytes with which HTTP/2 begins." "";
    PrefaceTimeout "preface_timeout" [-] Caller
        "The bytes with which HTTP/2 begins took too long to come." "";
    AcceptFailed "accept_failed" [-] Gateway
        "The gateway could not take the connection." "Try again.";
    HandshakeTimeout "handshake_timeout" [-] Caller
        "The TLS handshake took too long." "";
    HandshakeClosed "handshake_closed" [-] Connection
        "The TLS handshake was broken off by the client." "Look whether it trusts the gateway's certificate.";
    HandshakeFailed "handshake_failed" [-] Caller
        "There is no TLS version or cipher in common, or the client speaks no TLS." "";
    CertificateMissing "certificate_missing" [-] Caller
        "A client certificate is needed here." "Set one up in the client.";
    Http2MalformedRequest "http2_malformed_request" [-] Caller
        "The head over HTTP/2 lacks a part or has one twice, or has a field that HTTP/2 forbids." "";
    Http2HeadTooLarge "http2_head_too_large" [-] Caller
        "The head of the request is too large." "Send fewer or shorter headers.";
    Http2HeadTimeout "http2_head_timeout" [-] Caller
        "A header block over HTTP/2 took too long to come; the connection ended." "";
    Http2ProtocolError "http2_protocol_error" [-] Caller
        "The client or a proxy before it sent frames that HTTP/2 does not allow there." "";
    Http2FlowControlError "http2_flow_control_error" [-] Caller
        "The client sent more than it was allowed to, or widened a window too far." "";
    Http2SettingsTimeout "http2_settings_timeout" [-] Caller
        "The client did not confirm the connection's settings in time." "";
    Http2StreamClosed "http2_stream_closed" [-] Caller
        "The client went on with a request that had ended." "";
    Http2FrameSizeError "http2_frame_size_error" [-] Caller
        "The client sent a frame of a wrong length, or a longer one than we take." "";
    Http2StreamRefused "http2_stream_refused" [-] Caller
        "Too many requests are open on this connection at once." "Send fewer at once.";
    Http2CompressionError "http2_compression_error" [-] Caller
        "The compressed headers cannot be read; the connection ended." "";
    Http2Flood "http2_flood" [-] Caller
        "The client opened and ended requests without end; the connection ended." "";
    // Events.
    Started "started" [-] Nothing
        "The gateway listens." "";
    Stopped "stopped" [-] Nothing
        "The gateway has ended." "";
    UncleanStop "unclean_stop" [-] Gateway
        "The process before did not end cleanly; some numbers of records may stand for none." "";
    AnswerDue "answer_due" [-] Nothing
        "A call is about to be answered; its own record follows." "";
    CheckpointDue "checkpoint_due" [-] Nothing
        "So many records, or so much time, have come since the last checkpoint of the trail." "";
    AdminShown "admin_shown" [-] Nothing
        "The operator's listener showed which credentials there are, or the trail's last checkpoint." "";
    ConfigurationTakenOver "configuration_taken_over" [-] Nothing
        "A new configuration is in force." "";
    ConfigurationRefused "configuration_refused" [-] Operator
        "A new configuration was wrong; the last good one stays." "";
    SourceSilent "source_silent" [-] Operator
        "A source of keys or certificates gives nothing new; its last answer counts until its end." "";
    SourceAnswers "source_answers" [-] Nothing
        "A source of keys or certificates gives again." "";
    SinkSilent "sink_silent" [-] Operator
        "A sink of the audit trail takes no records; they wait for it, or are left out." "";
    SinkAnswers "sink_answers" [-] Nothing
        "A sink of the audit trail takes records again." "";
    SinkLacks "sink_lacks" [-] Operator
        "A sink of the audit trail never gets some records; the trail itself has them." "";
    RevokedByFile "revoked_by_file" [-] Nothing
        "The operator's file revokes a proof from now on." "";
    RevokedByLogout "revoked_by_logout" [-] Nothing
        "The identity provider ended a session by a logout token." "";
    RevokedByEvent "revoked_by_event" [-] Nothing
        "A transmitter ended proofs by a security event." "";
    CredentialTakenOver "credential_taken_over" [-] Nothing
        "A new version of one of the gateway's credentials is in use." "";
    CredentialNotTaken "credential_not_taken" [-] Operator
        "The backend does not take a new version of one of the gateway's credentials; the one before stays in use." "";
    CredentialUnconfirmed "credential_unconfirmed" [-] Operator
        "The store has not confirmed one of the gateway's credentials for too long; it is not used any more." "";
    StoreUnavailable "store_unavailable" [-] Operator
        "The store of secrets gives none; what it gave last stays in use." "";
    StoreUnwrapFailed "store_unwrap_failed" [-] Operator
        "A wrapped secret ID cannot be opened; another may have opened it." "";
    UpstreamEchoedCredential "upstream_echoed_credential" [-] Backend
        "A backend's answer held a secret of the gateway's, which was blanked." "Tell an operator.";
}
