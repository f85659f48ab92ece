// An OpenID provider that others wrote (npm oidc-provider, certified), where people log in: authorization code with
// PKCE, refresh with rotation, device flow (RFC 8628), revocation (RFC 7009), logout (RP-Initiated and Back-Channel Logout
// 1.0; NODE_EXTRA_CA_CERTS must name the gateway's authority). Its
// development pages take any password; a person's groups are in PEOPLE.
//
//   node people.mjs PORT CERTIFICATE KEY ORIGIN_OF_THE_GATEWAY
//
// Tim's access tokens live for an hour, everybody else's for seconds, so that they are refreshed. It says "listening" when it does, and ends when its standard input closes.
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:https';
import Provider from 'oidc-provider';

const [port, certificate, key, gateway] = process.argv.slice(2);
const PEOPLE = {
  ann: { name: 'Ann Shop', email: 'ann@acme.example', groups: ['shop-developers'] },
  sam: { name: 'Sam Reliable', email: 'sam@acme.example', groups: ['sre'] },
  tim: { name: 'Tim Terraform', email: 'tim@acme.example', groups: ['shop-developers'] },
  eve: { name: 'Eve Elsewhere', email: 'eve@acme.example', groups: [] },
};
// No key objects are made: their export hangs now and then in Node 20.
const PLAIN = { publicKeyEncoding: { format: 'jwk' }, privateKeyEncoding: { format: 'jwk' } };
const lifetime = (person) => (person === 'tim' ? 3600 : 5); // seconds

const provider = new Provider(`https://localhost:${port}`, {
  clients: [
    {
      client_id: 'lightkeeper-web',
      client_secret: 'console-secret-of-the-tests',
      redirect_uris: [`${gateway}/.lightkeeper/callback`],
      post_logout_redirect_uris: [`${gateway}/.lightkeeper/signed-out`],
      backchannel_logout_uri: `${gateway}/.lightkeeper/backchannel-logout`,
      backchannel_logout_session_required: true,
      grant_types: ['authorization_code'],
      response_types: ['code'],
      token_endpoint_auth_method: 'client_secret_basic',
    },
    {
      client_id: 'lightkeeper-cli',
      application_type: 'native',
      redirect_uris: ['http://127.0.0.1/callback'],
      grant_types: ['authorization_code', 'refresh_token', 'urn:ietf:params:oauth:grant-type:device_code'],
      response_types: ['code'],
      token_endpoint_auth_method: 'none',
    },
  ],
  jwks: {
    keys: [
      {
        ...generateKeyPairSync('rsa', { modulusLength: 2048, ...PLAIN }).privateKey,
        kid: 'people-1',
        alg: 'RS256',
        use: 'sig',
      },
    ],
  },
  claims: { openid: ['sub'], profile: ['name'], email: ['email'], groups: ['groups'] },
  conformIdTokenClaims: false,
  scopes: ['openid', 'offline_access', 'profile', 'email', 'groups', 'telemetry'],
  pkce: { required: () => true },
  rotateRefreshToken: true,
  issueRefreshToken: async (_, client) => client.grantTypeAllowed('refresh_token'),
  findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id, ...(PEOPLE[id] ?? { groups: [] }) }) }),
  extraTokenClaims: (_, token) => ({ groups: PEOPLE[token.accountId]?.groups ?? [] }),
  features: {
    backchannelLogout: { enabled: true },
    devInteractions: { enabled: true },
    deviceFlow: { enabled: true },
    dPoP: { enabled: true, nonceSecret: randomBytes(32), requireNonce: () => true },
    revocation: { enabled: true },
    rpInitiatedLogout: { enabled: true },
    userinfo: { enabled: true },
    resourceIndicators: {
      enabled: true,
      useGrantedResource: () => true,
      getResourceServerInfo: (_, resource) => ({
        scope: 'telemetry',
        audience: resource,
        accessTokenFormat: 'jwt',
        jwt: { sign: { alg: 'RS256' } },
      }),
    },
  },
  ttl: { AccessToken: (_, token) => lifetime(token.accountId) },
  cookies: { keys: ['only-for-tests'] },
  // The provider's own dispatcher connects to no loopback address, where the gateway is.
  fetch: (url, { dispatcher, ...options }) => fetch(url, options),
});
provider.on('backchannel.error', (_, error) => console.log('back-channel logout:', error.message, error.cause ?? ''));

createServer({ cert: readFileSync(certificate), key: readFileSync(key) }, provider.callback()).listen(
  Number(port),
  '127.0.0.1',
  () => console.log('listening'),
);
process.stdin.resume();
process.stdin.on('end', () => process.exit(0));
