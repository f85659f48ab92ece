// An OpenID provider that others wrote (npm oidc-provider, certified), as small as these tests need it:
// client credentials only, JWT access tokens (RFC 9068) through resource indicators (RFC 8707).
//
//   node issuer.mjs PORT CERTIFICATE KEY AUTHORITY
//
// Each resource's tokens are signed with another algorithm; those of `urn:lightkeeper:opaque` are opaque, and told about at the
// introspection endpoint (RFC 7662), to `reader` signed (RFC 9701). `keeper` proves itself there by KEY (RFC 7523), `shower` by a certificate of AUTHORITY with
// its SPIFFE ID (RFC 8705). It says "listening" when it does, and ends
// when its standard input closes.
import { createPublicKey, generateKeyPairSync, randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:https';
import Provider from 'oidc-provider';

const [port, certificate, key, authority] = process.argv.slice(2);
const issuer = `https://localhost:${port}`;
const ALGORITHMS = {
  'urn:lightkeeper:rs256': 'RS256',
  'urn:lightkeeper:ps384': 'PS384',
  'urn:lightkeeper:es256': 'ES256',
  'urn:lightkeeper:eddsa': 'EdDSA',
  'urn:another-service': 'RS256',
};
const OPAQUE = 'urn:lightkeeper:opaque';
const LIFETIMES = { 'short-lived': 1 }; // seconds, by client; others: an hour

// No key objects are made: their export hangs now and then in Node 20.
const PLAIN = { publicKeyEncoding: { format: 'jwk' }, privateKeyEncoding: { format: 'jwk' } };

// One key, one algorithm (RFC 8725 section 3.1), and the key set says which.
const jwk = (kid, alg, type, options) => ({
  ...generateKeyPairSync(type, { ...options, ...PLAIN }).privateKey,
  kid,
  alg,
  use: 'sig',
});
const client = (id) => ({
  client_id: id,
  client_secret: `${id}-secret`,
  grant_types: ['client_credentials'],
  response_types: [],
  redirect_uris: [],
  token_endpoint_auth_method: 'client_secret_basic',
});

const keeper = {
  ...client('keeper'),
  client_secret: undefined,
  token_endpoint_auth_method: 'private_key_jwt',
  jwks: { keys: [{ ...createPublicKey(readFileSync(key)).export({ format: 'jwk' }), kid: 'keeper-1', use: 'sig' }] },
};
const reader = { ...client('reader'), introspection_signed_response_alg: 'ES256' };

const shower = {
  ...client('shower'),
  client_secret: undefined,
  token_endpoint_auth_method: 'tls_client_auth',
  tls_client_auth_san_uri: 'spiffe://prod.acme.example/ns/checkout/sa/collector',
};

const provider = new Provider(issuer, {
  clients: [keeper, reader, shower].concat(['collector', 'cluster', 'legacy', 'analyst', 'stranger', 'hammer', 'short-lived'].map(client)),
  jwks: {
    keys: [
      jwk('rsa-1', 'RS256', 'rsa', { modulusLength: 2048 }),
      jwk('rsa-2', 'PS384', 'rsa', { modulusLength: 2048 }),
      jwk('ec-1', 'ES256', 'ec', { namedCurve: 'P-256' }),
      jwk('ed-1', 'EdDSA', 'ed25519'),
    ],
  },
  features: {
    devInteractions: { enabled: false },
    clientCredentials: { enabled: true },
    // Who shows a proof gets a token that is bound to its key (RFC 9449), with a nonce of the provider's.
    dPoP: { enabled: true, nonceSecret: randomBytes(32), requireNonce: () => true },
    introspection: { enabled: true },
    mTLS: {
      enabled: true,
      tlsClientAuth: true,
      getCertificate: (ctx) => ctx.socket.getPeerX509Certificate?.(),
      certificateAuthorized: (ctx) => ctx.socket.authorized,
      certificateSubjectMatches: (ctx, property, expected) =>
        property === 'tls_client_auth_san_uri' &&
        (ctx.socket.getPeerX509Certificate()?.subjectAltName ?? '').split(', ').includes(`URI:${expected}`),
    },
    jwtIntrospection: { enabled: true },
    revocation: { enabled: true },
    resourceIndicators: {
      enabled: true,
      getResourceServerInfo: (_, resource, { clientId }) => ({
        scope: 'telemetry',
        audience: resource,
        accessTokenTTL: LIFETIMES[clientId] ?? 3600,
        ...(resource === OPAQUE
          ? { accessTokenFormat: 'opaque' }
          : { accessTokenFormat: 'jwt', jwt: { sign: { alg: ALGORITHMS[resource] } } }),
      }),
    },
  },
  scopes: ['telemetry'],
  clientAuthMethods: ['client_secret_basic', 'private_key_jwt', 'tls_client_auth'],
  enabledJWA: {
    idTokenSigningAlgValues: ['RS256', 'PS384', 'ES256', 'EdDSA'],
    introspectionSigningAlgValues: ['RS256', 'ES256'],
    clientAuthSigningAlgValues: ['ES256'],
  },
  extraTokenClaims: (_, token) => ({ groups: [`${token.clientId}s`] }),
});

const tls = {
  cert: readFileSync(certificate),
  key: readFileSync(key),
  ca: readFileSync(authority),
  requestCert: true,
  rejectUnauthorized: false,
};
createServer(tls, provider.callback()).listen(
  Number(port),
  '127.0.0.1',
  () => console.log('listening'),
);
process.stdin.resume();
process.stdin.on('end', () => process.exit(0));
