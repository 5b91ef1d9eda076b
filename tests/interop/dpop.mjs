// The `dpop` package makes proofs and nothing else; the requests are plain `fetch`, as in a browser.
import * as dpop from 'dpop';
import { play, twice } from './calls.mjs';

let nonce;

await play({
  generateKeys: (alg) => dpop.generateKeyPair(alg),

  async fetchToken({ id, resource, scope, keys }) {
    const endpoint = `${process.env.ISSUER}/token`;
    const response = await fetch(endpoint, {
      method: 'POST',
      headers: {
        authorization: `Basic ${btoa(`${id}:secret`)}`,
        ...(keys && { dpop: await dpop.generateProof(keys, endpoint, 'POST') }),
      },
      body: new URLSearchParams({ grant_type: 'client_credentials', resource, ...(scope && { scope }) }),
    });
    return (await response.json()).access_token;
  },

  async request({ token, keys, method, url, body, proof = {}, replay }) {
    const send = async () => {
      const headers = keys
        ? { authorization: `DPoP ${token}`, dpop: await prove({ token, keys, method, url, proof }) }
        : { authorization: `Bearer ${token}` };
      const response = await (replay ? twice : fetch)(url, { method, headers, body });
      nonce = response.headers.get('dpop-nonce') ?? nonce;
      return response;
    };
    const response = await send();
    return response.headers.get('www-authenticate')?.includes('use_dpop_nonce') ? send() : response;
  },
});

async function prove({ token, keys, method, url, proof }) {
  const { now } = Date;
  // The package reads the clock itself.
  if (proof.age) Date.now = () => now() - proof.age * 1000;
  const { origin, pathname } = proof.url ?? url;
  try {
    return await dpop.generateProof(keys, origin + pathname, proof.method ?? method, nonce, proof.token ?? token);
  } finally {
    Date.now = now;
  }
}
