// Clients and a resource server that others wrote for DPoP (RFC 9449): npm oauth4webapi and dpop, and grpc-js.
//
//   NODE_EXTRA_CA_CERTS=CA node possession.mjs ISSUER GATEWAY RESOURCE CA
//
// Without a RESOURCE (empty) the issuer is asked for no scope and no resource.
//
// Each line of standard input is an order, { order, … }; each answer is one line. It ends with its input.
import { readFileSync } from 'node:fs';
import { createHash, randomUUID } from 'node:crypto';
import { createInterface } from 'node:readline';
import { Client, credentials, Metadata } from '@grpc/grpc-js';
import * as dpop from 'dpop';
import * as oauth from 'oauth4webapi';

const [issuer, gateway, resource, ca] = process.argv.slice(2);
const PAGE = '/.lightkeeper/whoami';
const GRPC = '/opentelemetry.proto.collector.trace.v1.TraceService/Export';
const as = await oauth.processDiscoveryResponse(new URL(issuer), await oauth.discoveryRequest(new URL(issuer)));
const b64 = (bytes) => Buffer.from(bytes).toString('base64url');
const ath = (token) => b64(createHash('sha256').update(token).digest());
const now = () => Math.floor(Date.now() / 1000);

// A request that is repeated once, if it was refused for want of a nonce.
async function withNonce(ask) {
  try {
    return { retried: false, answer: await ask() };
  } catch (error) {
    if (!oauth.isDPoPNonceError(error)) throw error;
    return { retried: true, answer: await ask() };
  }
}

async function fetched(name, bound, audience = resource) {
  const client = { client_id: name };
  const key = await oauth.generateKeyPair('ES256', { extractable: true });
  const handle = bound ? oauth.DPoP(client, key) : undefined;
  const parameters = new URLSearchParams(audience ? { scope: 'telemetry', resource: audience } : {});
  const secret = oauth.ClientSecretBasic(`${name}-secret`);
  const { retried, answer } = await withNonce(async () =>
    oauth.processClientCredentialsResponse(
      as,
      client,
      await oauth.clientCredentialsGrantRequest(as, client, secret, parameters, { DPoP: handle }),
    ),
  );
  return { key, handle, retried, token: answer.access_token, type: answer.token_type };
}

async function signed(key, header, claims) {
  const jwk = await crypto.subtle.exportKey('jwk', key.publicKey);
  const { kty, crv, x, y } = jwk;
  const whole = { alg: 'ES256', typ: 'dpop+jwt', jwk: { kty, crv, x, y }, ...header };
  const text = [whole, claims].map((part) => b64(JSON.stringify(part))).join('.');
  const algorithm = { name: 'ECDSA', hash: 'SHA-256' };
  return `${text}.${b64(await crypto.subtle.sign(algorithm, key.privateKey, Buffer.from(text)))}`;
}

// What the gateway says to a proof by the library `dpop` and with the nonce that it gave; and the nonce.
async function nonceFor({ key, token }) {
  const proof = await dpop.generateProof(key, `${gateway}${PAGE}`, 'GET', undefined, token);
  const answer = await fetch(`${gateway}${PAGE}`, { headers: { authorization: `DPoP ${token}`, dpop: proof } });
  return { status: answer.status, challenge: answer.headers.get('www-authenticate'), nonce: answer.headers.get('dpop-nonce') };
}

// One request, shown to the gateway and to oauth4webapi's resource server.
async function judgedByBoth(headers) {
  const url = `${gateway}${PAGE}`;
  const ours = (await fetch(url, { headers })).status === 200;
  let theirs = true;
  try {
    await oauth.validateJwtAccessToken(as, new Request(url, { headers }), resource, { requireDPoP: true });
  } catch (error) {
    theirs = String(error.message);
  }
  return { ours, theirs: theirs === true, because: theirs };
}

const VARIANTS = {
  good: {},
  'a query in htu': { claims: { htu: `${gateway}${PAGE}?a=b` } },
  'a host in capitals': { claims: { htu: `${gateway}${PAGE}`.replace('localhost', 'LOCALHOST') } },
  'another path': { claims: { htu: `${gateway}/apps` } },
  'another host': { claims: { htu: `https://other.example${PAGE}` } },
  'another method': { claims: { htm: 'POST' } },
  'another token': { claims: { ath: ath('x') } },
  'no token': { claims: { ath: undefined } },
  'no method': { claims: { htm: undefined } },
  'no address': { claims: { htu: undefined } },
  'no id': { claims: { jti: undefined } },
  'no time': { claims: { iat: undefined } },
  'long ago': { claims: { iat: now() - 400 } },
  'far ahead': { claims: { iat: now() + 400 } },
  'over': { claims: { exp: now() - 60 } },
  'a type of other tokens': { header: { typ: 'JWT' } },
  'no type': { header: { typ: undefined } },
  'no key': { header: { jwk: undefined } },
  'no algorithm': { header: { alg: 'none' } },
  'a critical extension': { header: { crit: ['x'], x: 1 } },
  'a private key': { secret: true },
  'a stranger\'s key': { stranger: true },
  'a changed signature': { broken: true },
  'two proofs': { twice: true },
  'no proof': { absent: true },
  'as bearer': { scheme: 'Bearer' },
};

async function compare({ variant }) {
  const held = await fetched('analyst', true);
  const { nonce } = await nonceFor(held);
  const { header = {}, claims = {}, ...more } = VARIANTS[variant];
  const signer = more.stranger ? await dpop.generateKeyPair('ES256', { extractable: true }) : held.key;
  const usual = { jti: randomUUID(), htm: 'GET', htu: `${gateway}${PAGE}`, iat: now(), ath: ath(held.token), nonce };
  const secret = more.secret && { jwk: await crypto.subtle.exportKey('jwk', held.key.privateKey) };
  let proof = await signed(signer, { ...header, ...secret }, { ...usual, ...claims });
  if (more.broken) proof = proof.slice(0, -8) + (proof.endsWith('AAAAAAAA') ? 'BBBBBBBB' : 'AAAAAAAA');
  const headers = new Headers({ authorization: `${more.scheme ?? 'DPoP'} ${held.token}` });
  if (!more.absent) headers.append('dpop', proof);
  if (more.twice) headers.append('dpop', proof);
  return judgedByBoth(headers);
}

// Tokens that a resource server refuses, each with a proof that fits it.
async function compareToken({ kind }) {
  const held = await fetched('analyst', kind !== 'unbound', kind === 'for another' ? 'urn:another-service' : resource);
  const { nonce } = await nonceFor(await fetched('analyst', true));
  const proof = await dpop.generateProof(held.key, `${gateway}${PAGE}`, 'GET', nonce, held.token);
  return judgedByBoth(new Headers({ authorization: `DPoP ${held.token}`, dpop: proof }));
}

const grpc = new Client(gateway.replace('https://', ''), credentials.createSsl(readFileSync(ca)));

function unary(metadata) {
  const same = (bytes) => bytes;
  return new Promise((done) =>
    grpc.makeUnaryRequest(GRPC, same, same, Buffer.alloc(0), metadata, (error) => done(error ?? { code: 0 })),
  );
}

async function overGrpc() {
  const { key, token } = await fetched('collector', true);
  const attempt = async (nonce) => {
    const metadata = new Metadata();
    metadata.set('authorization', `DPoP ${token}`);
    metadata.set('dpop', await dpop.generateProof(key, `${gateway}${GRPC}`, 'POST', nonce, token));
    return unary(metadata);
  };
  const refused = await attempt();
  const [nonce] = refused.metadata.get('dpop-nonce');
  const [challenge] = refused.metadata.get('www-authenticate');
  return { refused: refused.code, challenge, taken: (await attempt(nonce)).code };
}

async function call({ client, method, path, body, type }) {
  const { handle, token, type: kind, retried: asked } = await fetched(client, true);
  const headers = new Headers(type ? { 'content-type': type } : {});
  const url = new URL(`${gateway}${path}`);
  const ask = () => oauth.protectedResourceRequest(token, method, url, headers, body, { DPoP: handle });
  const results = [];
  for (let round = 0; round < 2; round += 1) {
    const { retried, answer } = await withNonce(ask);
    results.push({ status: answer.status, retried });
  }
  // The token alone, by either scheme.
  const stolen = [];
  for (const scheme of ['Bearer', 'DPoP']) {
    headers.set('authorization', `${scheme} ${token}`);
    headers.delete('dpop');
    stolen.push((await fetch(url, { method, headers, body })).status);
  }
  return { kind, asked, results, stolen };
}

const orders = { call, compare, compareToken, overGrpc, variants: async () => ({ variants: Object.keys(VARIANTS) }) };

for await (const line of createInterface({ input: process.stdin })) {
  const { order, ...rest } = JSON.parse(line);
  try {
    console.log(JSON.stringify(await orders[order](rest)));
  } catch (error) {
    console.log(JSON.stringify({ error: String(error.stack ?? error), cause: String(error.cause ?? '') }));
  }
}
process.exit(0);
