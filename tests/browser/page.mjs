// What a page does that calls a protected API of another origin. The key is made here and never leaves the browser.
//
// Leaves what came of each call in `window.calls`, [name, outcome] each, and sets `window.done`.
import * as dpop from './dpop.mjs';

const { role, api, issuer, audience } = Object.fromEntries(new URLSearchParams(location.search));
const orders = `${api}/orders?page=2`;
window.calls = [];

function report(name, outcome) {
  window.calls.push([name, outcome]);
  const row = document.querySelector('#calls').insertRow();
  row.insertCell().textContent = name;
  row.insertCell().textContent = JSON.stringify(outcome);
}

// The scheme of each challenge and its error. A script sees the lines of one field joined by commas.
function challenges(response) {
  const field = response.headers.get('www-authenticate') ?? '';
  return field.split(/,\s*(?=(?:DPoP|Bearer) )/).filter(Boolean).map((challenge) => (
    [challenge.split(' ')[0], /\berror="([^"]*)"/.exec(challenge)?.[1] ?? null]
  ));
}

async function call(name, request) {
  try {
    const response = await request;
    const body = await response.json();
    report(name, response.ok
      ? { status: response.status, body }
      : { status: response.status, challenges: challenges(response), body: body.error ?? null });
    return response;
  } catch (error) {
    report(name, { unreadable: error.name });
    return undefined;
  }
}

async function metadata(name) {
  // MCP clients send this field; a browser asks about it first.
  const response = await fetch(`${api}/.well-known/oauth-protected-resource`, {
    headers: { 'mcp-protocol-version': '2025-11-25' },
  });
  const { resource, dpop_bound_access_tokens_required: required } = await response.json();
  report(name, { status: response.status, resource, dpop: required });
}

async function app() {
  const keys = await dpop.generateKeyPair('ES256');
  report('the key', { extractable: keys.privateKey.extractable });
  await metadata('metadata');

  const endpoint = `${issuer}/token`;
  const granted = await fetch(endpoint, {
    method: 'POST',
    headers: {
      authorization: `Basic ${btoa('dpop-client:secret')}`,
      dpop: await dpop.generateProof(keys, endpoint, 'POST'),
    },
    body: new URLSearchParams({ grant_type: 'client_credentials', resource: audience, scope: 'read' }),
  });
  const { access_token: token } = await granted.json();

  let nonce;
  const prove = (method) => dpop.generateProof(keys, `${api}/orders`, method, nonce, token);
  const send = async (method, proof, body) => {
    const headers = { authorization: `DPoP ${token}`, dpop: proof };
    if (body) headers['content-type'] = 'application/json';
    const response = await fetch(orders, { method, headers, body });
    nonce = response.headers.get('dpop-nonce') ?? nonce;
    return response;
  };

  await call('without a nonce', send('GET', await prove('GET')));
  report('the nonce', { readable: typeof nonce === 'string' && nonce.length > 0 });
  await call('read', send('GET', await prove('GET')));
  await call('write', send('PUT', await prove('PUT'), '{"item":"tea"}'));
  const proof = await prove('GET');
  await send('GET', proof);
  await call('a proof used twice', send('GET', proof));
  await call('a stolen token as Bearer', fetch(orders, { headers: { authorization: `Bearer ${token}` } }));
  await call('without a token', fetch(orders));
}

async function stranger() {
  await metadata("a stranger's metadata");
  await call('a stranger without a token', fetch(orders));
  await call('a stranger with a token', fetch(orders, { headers: { authorization: 'DPoP x', dpop: 'y' } }));
}

try {
  await (role === 'app' ? app() : stranger());
} catch (error) {
  report('failed', String(error));
}
window.done = true;
