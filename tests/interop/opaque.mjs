// Calls with opaque access tokens, good ones and a thief's. Prints a line for each call, {"name", "status",
// "challenge"}; the last is made until a token that was revoked is refused.
import { readFileSync } from 'node:fs';
import { request } from 'node:https';
import { generateKeyPair, generateProof } from 'dpop';

const {
  API, AUDIENCE, ISSUER, CLIENT_CERTIFICATE_FILE, CLIENT_KEY_FILE, OTHER_CERTIFICATE_FILE, OTHER_KEY_FILE,
} = process.env;
const ORDERS = `${API}/orders`;
const BASIC = (id) => `Basic ${Buffer.from(`${id}:secret`).toString('base64')}`;
const identity = (cert, key) => ({ cert: readFileSync(cert), key: readFileSync(key) });
const mine = identity(CLIENT_CERTIFICATE_FILE, CLIENT_KEY_FILE);
const others = identity(OTHER_CERTIFICATE_FILE, OTHER_KEY_FILE);

// One request over a connection of its own, with a certificate if there is one.
function send(url, { method = 'GET', headers = {}, form, certificate = {} } = {}) {
  const body = form && new URLSearchParams(form).toString();
  const type = form && { 'content-type': 'application/x-www-form-urlencoded', 'content-length': body.length };
  return new Promise((resolve, reject) => {
    const sent = request(url, { method, headers: { ...headers, ...type }, agent: false, ...certificate }, (response) => {
      let text = '';
      response.on('data', (part) => { text += part; });
      response.on('end', () => resolve({ status: response.statusCode, headers: response.headers, text }));
    });
    sent.on('error', reject);
    sent.end(body);
  });
}

async function fetchToken({ id, keys, certificate, resource = `${AUDIENCE}/opaque`, scope = 'read' }) {
  const headers = { ...(id !== 'mtls-client' && { authorization: BASIC(id) }) };
  if (keys) headers.dpop = await generateProof(keys, `${ISSUER}/token`, 'POST');
  const form = { grant_type: 'client_credentials', client_id: id, resource, ...(scope && { scope }) };
  const { status, text } = await send(`${ISSUER}/token`, { method: 'POST', headers, form, certificate });
  if (status !== 200) throw new Error(`no token: ${status} ${text}`);
  return JSON.parse(text).access_token;
}

function opaque(token) {
  if (token.includes('.')) throw new Error('this is no opaque token');
  return token;
}

function report(name, { status, headers }) {
  console.log(JSON.stringify({ name, status, challenge: headers['www-authenticate'] ?? null }));
}

const dpop = async (token, keys, proof) => send(ORDERS, {
  headers: {
    authorization: `DPoP ${token}`,
    dpop: proof ?? await generateProof(keys, ORDERS, 'GET', undefined, token),
  },
});
const bearer = (token, certificate) => send(ORDERS, { headers: { authorization: `Bearer ${token}` }, certificate });

const keys = await generateKeyPair('ES256');
const thief = await generateKeyPair('ES256');
const token = opaque(await fetchToken({ id: 'dpop-client', keys }));

report('key-bound', await dpop(token, keys));
report('key-bound, again', await dpop(token, keys));
report('stolen, as Bearer', await bearer(token));
report('stolen, with a proof by another key', await dpop(token, thief));
const proof = await generateProof(keys, ORDERS, 'GET', undefined, token);
await dpop(token, keys, proof);
report('stolen with its proof', await dpop(token, keys, proof));

const certified = opaque(await fetchToken({ id: 'mtls-client', certificate: mine }));
report('certificate-bound', await bearer(certified, mine));
report('stolen, without a certificate', await bearer(certified));
report('stolen, with another certificate', await bearer(certified, others));

report('bound to nothing', await bearer(opaque(await fetchToken({ id: 'bearer-client' }))));
report('of nobody', await dpop('2YotnFZFEjr1zCsicMWpAA', keys));
const elsewhere = { id: 'dpop-client', keys, resource: 'https://elsewhere.example.com/opaque' };
report('for another audience', await dpop(opaque(await fetchToken(elsewhere)), keys));
report('without the scope', await dpop(opaque(await fetchToken({ id: 'dpop-client', keys, scope: null })), keys));
report('a JWT', await dpop(await fetchToken({ id: 'dpop-client', keys, resource: AUDIENCE }), keys));

const form = { token };
const headers = { authorization: BASIC('dpop-client') };
const { status, text } = await send(`${ISSUER}/token/revocation`, { method: 'POST', headers, form });
if (status !== 200) throw new Error(`not revoked: ${status} ${text}`);
const revoked = Date.now();
let last;
do {
  last = await dpop(token, keys);
} while (last.status === 200 && Date.now() - revoked < 60_000);
report('revoked', last);
report('certificate-bound, after all that', await bearer(certified, mine));
