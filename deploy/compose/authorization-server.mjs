// A real authorization server, `oidc-provider`, with one client: example, secret "example". Its access tokens are bound to the
// key of the client's DPoP proof. It forgets everything when it stops.
import { generateKeyPairSync } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:https';
import { Provider } from 'oidc-provider';

const { ISSUER = 'https://localhost:4000', LISTEN = '0.0.0.0', CERTIFICATES = '/certificates' } = process.env;
const AUDIENCE = 'https://localhost:8443';

const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const provider = new Provider(ISSUER, {
  jwks: { keys: [{ ...privateKey.export({ format: 'jwk' }), alg: 'ES256', kid: 'example', use: 'sig' }] },
  clients: [{
    client_id: 'example',
    client_secret: 'example',
    grant_types: ['client_credentials'],
    redirect_uris: [],
    response_types: [],
    scope: 'read',
    id_token_signed_response_alg: 'ES256',
    dpop_bound_access_tokens: true,
  }],
  scopes: ['read'],
  enabledJWA: { dPoPSigningAlgValues: ['ES256', 'PS256', 'Ed25519', 'EdDSA'] },
  ttl: { ClientCredentials: 600 },
  features: {
    clientCredentials: { enabled: true },
    devInteractions: { enabled: false },
    dPoP: { enabled: true },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => AUDIENCE,
      getResourceServerInfo: () => (
        { audience: AUDIENCE, scope: 'read', accessTokenFormat: 'jwt', jwt: { sign: { alg: 'ES256' } } }
      ),
    },
  },
});

const read = (name) => readFileSync(`${CERTIFICATES}/authorization-server.${name}`);
const server = createServer({ cert: read('crt'), key: read('key') }, provider.callback());
server.listen(new URL(ISSUER).port, LISTEN, () => console.log(`${ISSUER} listens`));
for (const signal of ['SIGTERM', 'SIGINT']) process.on(signal, () => process.exit());
