import * as oauth from 'oauth4webapi';
import { lie, play, twice } from './calls.mjs';

const issuer = new URL(process.env.ISSUER);
const server = await oauth.discoveryRequest(issuer, { algorithm: 'oauth2' })
  .then((response) => oauth.processDiscoveryResponse(issuer, response));

await play({
  generateKeys: (alg) => oauth.generateKeyPair(alg),

  async fetchToken({ id, resource, scope, keys }) {
    const client = { client_id: id };
    const parameters = new URLSearchParams({ resource, ...(scope && { scope }) });
    const response = await oauth.clientCredentialsGrantRequest(
      server,
      client,
      oauth.ClientSecretBasic('secret'),
      parameters,
      { DPoP: keys && oauth.DPoP(client, keys) },
    );
    return (await oauth.processClientCredentialsResponse(server, client, response)).access_token;
  },

  async request({ token, keys, method, url, body, proof = {}, replay }) {
    const DPoP = keys && oauth.DPoP({}, keys, { [oauth.modifyAssertion]: lie(proof) });
    const send = () => oauth.protectedResourceRequest(token, method, url, undefined, body, {
      DPoP,
      ...(replay && { [oauth.customFetch]: twice }),
    });
    // The library leaves it to its user to answer a nonce challenge.
    return send().catch((error) => {
      if (!oauth.isDPoPNonceError(error)) throw error;
      return send();
    });
  },
});
