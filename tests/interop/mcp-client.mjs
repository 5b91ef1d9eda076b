// A real MCP client that knows nothing but the server's URL and its own name at the authorization server: it finds the
// rest by discovery, proves possession of its key with each request, and then lets a thief try the stolen token.
//
// Prints one line for each step, {"name", …}.
import * as dpop from 'dpop';
import {
  discoverAuthorizationServerMetadata,
  discoverOAuthProtectedResourceMetadata,
  extractResourceMetadataUrl,
} from '@modelcontextprotocol/sdk/client/auth.js';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { ToolListChangedNotificationSchema } from '@modelcontextprotocol/sdk/types.js';

const server = new URL(process.env.SERVER);
const report = (name, outcome) => console.log(JSON.stringify({ name, ...outcome }));

// What a client learns that has nothing.
const refused = await fetch(server, { method: 'POST' });
const challenge = refused.headers.get('www-authenticate');
report('without a token', {
  status: refused.status,
  resource_metadata: /^DPoP .*\bresource_metadata="([^"]*)"/.exec(challenge)?.[1],
});
const bearer = await fetch(server, { method: 'POST', headers: { authorization: 'Bearer of-somebody' } });
report('with a token that is none', { status: bearer.status, resource_metadata: extractResourceMetadataUrl(bearer) });
const document = await discoverOAuthProtectedResourceMetadata(server);
report('metadata', { document });
const [issuer] = document.authorization_servers;
const metadata = await discoverAuthorizationServerMetadata(issuer);

// A token for just this resource, bound to a key of its own.
const keys = await dpop.generateKeyPair(document.dpop_signing_alg_values_supported[0]);
const granted = await fetch(metadata.token_endpoint, {
  method: 'POST',
  headers: {
    authorization: `Basic ${btoa('dpop-client:secret')}`,
    dpop: await dpop.generateProof(keys, metadata.token_endpoint, 'POST'),
  },
  body: new URLSearchParams({
    grant_type: 'client_credentials',
    resource: document.resource,
    scope: document.scopes_supported.join(' '),
  }),
});
const { access_token: token } = await granted.json();

// A `fetch` that proves possession of `keys`, and answers nonce challenges once.
function proving(held) {
  let nonce;
  const seen = { challenged: 0 };
  const send = async (url, init) => {
    const { origin, pathname } = new URL(url);
    const headers = new Headers(init?.headers);
    headers.set('authorization', `DPoP ${token}`);
    headers.set('dpop', await dpop.generateProof(held, origin + pathname, init?.method ?? 'GET', nonce, token));
    const response = await fetch(url, { ...init, headers });
    nonce = response.headers.get('dpop-nonce') ?? nonce;
    return response;
  };
  const prove = async (url, init) => {
    const response = await send(url, init);
    if (!response.headers.get('www-authenticate')?.includes('error="use_dpop_nonce"')) return response;
    seen.challenged += 1;
    return send(url, init);
  };
  return { prove, seen };
}

const { prove, seen } = proving(keys);
const client = new Client({ name: 'orders-client', version: '1.0.0' });
const broken = [];
client.onerror = (error) => broken.push(String(error));
const changed = new Promise((resolve) => {
  client.setNotificationHandler(ToolListChangedNotificationSchema, () => resolve(true));
});
const names = async () => (await client.listTools()).tools.map(({ name }) => name);
const transport = new StreamableHTTPClientTransport(server, { fetch: prove });
await client.connect(transport);
report('tools/list', { tools: await names() });
const { content } = await client.callTool({ name: 'add', arguments: { a: 2, b: 40 } });
report('tools/call', { text: content[0].text });

// Both streams are silent for longer than the gateway waits for the head of an answer, or leaves idle connections open.
const progress = [];
const brewed = await client.callTool({ name: 'brew' }, undefined, { onprogress: (step) => progress.push(step.progress) });
report('a slow tool', { progress, text: brewed.content[0].text });
report('a notification', { changed: await changed, tools: await names() });
await transport.terminateSession();
report('the whole session', { broken, challenged: seen.challenged });
await client.close();

// The thief has the token, and for the last attempt a key of its own.
const thief = async (name, options) => {
  const outcome = await new Client({ name: 'thief', version: '1.0.0' })
    .connect(new StreamableHTTPClientTransport(server, options))
    .then(() => ({ connected: true }), (error) => ({ refused: error.code, why: /"error":"([a-z_]+)"/.exec(error.message)?.[1] }));
  report(name, outcome);
};
await thief('a stolen token as Bearer', { requestInit: { headers: { authorization: `Bearer ${token}` } } });
await thief('a stolen token and another key', { fetch: proving(await dpop.generateKeyPair('ES256')).prove });
