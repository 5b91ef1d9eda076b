// Calls an API that demands nonces, each attempt over a connection of its own, so that a balancer may send every attempt
// to another gateway. Prints one line for each call, {"name", "status", "attempts"}.
import https from 'node:https';
import * as oauth from 'oauth4webapi';

const { API, AUDIENCE, ISSUER } = process.env;
const issuer = new URL(ISSUER);
const server = await oauth.discoveryRequest(issuer, { algorithm: 'oauth2' })
  .then((response) => oauth.processDiscoveryResponse(issuer, response));

const client = { client_id: 'dpop-client' };
const keys = await oauth.generateKeyPair('ES256');
const DPoP = oauth.DPoP(client, keys);
const parameters = new URLSearchParams({ resource: AUDIENCE, scope: 'read' });
const granted = await oauth.clientCredentialsGrantRequest(
  server,
  client,
  oauth.ClientSecretBasic('secret'),
  parameters,
  { DPoP },
);
const { access_token: token } = await oauth.processClientCredentialsResponse(server, client, granted);

let attempts = 0;
const overItsOwnConnection = (url, { method, headers, body }) => new Promise((resolve, reject) => {
  attempts += 1;
  const request = https.request(url, { method, headers, agent: false }, (response) => {
    const chunks = [];
    response.on('data', (chunk) => chunks.push(chunk));
    response.on('end', () => {
      const fields = new Headers();
      for (let at = 0; at < response.rawHeaders.length; at += 2) {
        fields.append(response.rawHeaders[at], response.rawHeaders[at + 1]);
      }
      resolve(new Response(Buffer.concat(chunks), { status: response.statusCode, headers: fields }));
    });
  });
  request.on('error', reject);
  request.end(body);
});

for (let call = 1; call <= 10; call += 1) {
  attempts = 0;
  const send = () => oauth.protectedResourceRequest(token, 'GET', new URL(`/orders/${call}`, API), undefined, undefined, {
    DPoP,
    [oauth.customFetch]: overItsOwnConnection,
  });
  // The library leaves it to its user to answer a nonce challenge.
  const response = await send().catch((error) => {
    if (!oauth.isDPoPNonceError(error)) throw error;
    return send();
  });
  console.log(JSON.stringify({ name: `call ${call}`, status: response.status, attempts }));
}
