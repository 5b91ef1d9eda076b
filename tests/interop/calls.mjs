// The calls that every DPoP client makes to the protected API, good ones and a thief's. A client is
//
//   generateKeys(alg)                                   a key pair
//   fetchToken({ id, resource, scope, keys })           an access token, bound to the keys if there are any
//   request({ token, keys, method, url, body, proof, replay })
//                                                       the API's response, by the library's own means
//
// Without keys the token goes as Bearer. `proof` says what the proof claims instead of the truth:
// another method, url or token, or an age in seconds. `replay` sends the very same request twice and
// returns the second response.
//
// Prints one line for each call, {"name", "status", "challenge"}, and in "understood" what the library
// itself read from the challenge.
import { createHash } from 'node:crypto';

const { API, AUDIENCE } = process.env;

export async function play({ generateKeys, fetchToken, request }) {
  const at = (path) => new URL(path, API);
  const call = (name, { path = '/orders', method = 'GET', ...rest }) => (
    report(name, request({ method, url: at(path), ...rest }))
  );
  const raw = (name, headers, path = '/orders') => report(name, fetch(at(path), { headers }));
  const fresh = async ({ alg = 'ES256', ...asked } = {}) => {
    const keys = await generateKeys(alg);
    return { keys, token: await fetchToken({ id: 'dpop-client', resource: AUDIENCE, scope: 'read', keys, ...asked }) };
  };

  const mine = await fresh();
  const other = await fresh();
  const { keys, token } = mine;

  await call('get', mine);
  await call('get with a query', { ...mine, path: '/orders?page=2&sort=-date' });
  await call('get the root', { ...mine, path: '/' });
  await call('get an escaped path', { ...mine, path: '/caf%C3%A9/~a%20b' });
  await call('head', { ...mine, method: 'HEAD' });
  for (const method of ['POST', 'PUT', 'PATCH', 'DELETE']) {
    await call(method.toLowerCase(), { ...mine, method, body: method === 'DELETE' ? undefined : '{"item":"tea"}' });
  }
  for (const alg of ['PS256', 'RS256', 'EdDSA']) {
    await call(`token signed with ${alg}`, await fresh({ resource: `${AUDIENCE}/${alg.toLowerCase()}` }));
  }
  for (const alg of ['PS256', 'Ed25519']) {
    await call(`proof signed with ${alg}`, await fresh({ alg }));
  }

  await raw('no credentials', {});
  await raw('token without a proof', { authorization: `DPoP ${token}` });
  await raw('token in the query', {}, `/orders?access_token=${token}`);
  await call('stolen token as Bearer', { token });
  await call('proof by another key', { token, keys: other.keys });
  await call('proof used twice', { ...mine, replay: true });
  await call('proof for another method', { ...mine, proof: { method: 'DELETE' } });
  await call('proof for another path', { ...mine, proof: { url: at('/invoices') } });
  await call('proof for another host', { ...mine, proof: { url: new URL('/orders', 'https://elsewhere.example.com') } });
  await call('proof for another token', { ...mine, proof: { token: other.token } });
  await call('proof from ten minutes ago', { ...mine, proof: { age: 600 } });
  await call('proof from ten minutes ahead', { ...mine, proof: { age: -600 } });
  await call('token with the signature of another', { keys, token: graft(token, other.token) });
  await call('token for another audience', await fresh({ resource: 'https://elsewhere.example.com' }));
  await call('token without the scope', await fresh({ scope: undefined }));

  const unbound = await fetchToken({ id: 'bearer-client', resource: AUDIENCE, scope: 'read' });
  await call('unbound token', { token: unbound });
  await call('unbound token with a proof', { token: unbound, keys });

  await call('get after all that', mine);
}

async function report(name, outcome) {
  let understood;
  const response = await outcome.catch((error) => {
    if (!error.response) throw error;
    understood = error.cause.map(({ scheme, parameters }) => ({ scheme, error: parameters.error ?? null }));
    return error.response;
  });
  console.log(JSON.stringify({
    name,
    status: response.status,
    challenge: response.headers.get('www-authenticate'),
    understood,
  }));
}

// What a client that lies puts into the payload of its proof.
export function lie({ method, url, token, age }) {
  return (_header, payload) => {
    if (method) payload.htm = method;
    if (url) payload.htu = url.href;
    if (token) payload.ath = createHash('sha256').update(token).digest('base64url');
    if (age) payload.iat -= age;
  };
}

// A `fetch` that does everything twice.
export async function twice(url, init) {
  await fetch(url, init);
  return fetch(url, init);
}

function graft(token, other) {
  const [header, payload] = token.split('.');
  return [header, payload, other.split('.')[2]].join('.');
}
