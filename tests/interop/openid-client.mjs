import * as client from 'openid-client';
import { lie, play, twice } from './calls.mjs';

const configure = (id) => client.discovery(new URL(process.env.ISSUER), id, 'secret', client.ClientSecretBasic('secret'));
const configurations = {
  'dpop-client': await configure('dpop-client'),
  'bearer-client': await configure('bearer-client'),
};

await play({
  generateKeys: (alg) => client.randomDPoPKeyPair(alg),

  async fetchToken({ id, resource, scope, keys }) {
    const configuration = configurations[id];
    const parameters = { resource, ...(scope && { scope }) };
    const DPoP = keys && client.getDPoPHandle(configuration, keys);
    return (await client.clientCredentialsGrant(configuration, parameters, { DPoP })).access_token;
  },

  async request({ token, keys, method, url, body, proof = {}, replay }) {
    const configuration = configurations['dpop-client'];
    const DPoP = keys && client.getDPoPHandle(configuration, keys, { [client.modifyAssertion]: lie(proof) });
    configuration[client.customFetch] = replay ? twice : undefined;
    return client.fetchProtectedResource(configuration, token, url, method, body, undefined, { DPoP });
  },
});
