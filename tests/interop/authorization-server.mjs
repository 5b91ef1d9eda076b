// A real authorization server: `oidc-provider` over HTTPS on a port that the system picks.
//
// It issues access tokens to three clients, each with the secret "secret" but the second, whose
// certificate is its credential:
//
//   dpop-client     tokens bound to the key of its DPoP proof         cnf.jkt
//   mtls-client     tokens bound to the certificate it connects with  cnf.x5t#S256
//   bearer-client   tokens bound to nothing
//
// They are JWTs, or opaque for resources that end in /opaque. It answers questions about opaque ones, in
// JSON or signed, to whoever shows to be one of three more clients: gateway-secret, gateway-certificate
// and gateway-key, by client_secret_basic, mutual TLS and private_key_jwt.
//
// Prints {"issuer": "https://127.0.0.1:PORT"} when it listens; ends when its standard input does, so
// that it never outlives whoever started it.
import { X509Certificate, createPublicKey, generateKeyPairSync } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:https';
import { Provider } from 'oidc-provider';

const { AUDIENCE, CERTIFICATE_FILE, KEY_FILE, CLIENT_CERTIFICATE_FILE, GATEWAY_CERTIFICATE_FILE } = process.env;

const signingKeys = {
  ES256: generateKeyPairSync('ec', { namedCurve: 'P-256' }),
  PS256: generateKeyPairSync('rsa', { modulusLength: 2048 }),
  RS256: generateKeyPairSync('rsa', { modulusLength: 2048 }),
  EdDSA: generateKeyPairSync('ed25519'),
};
const jwks = {
  keys: Object.entries(signingKeys).map(([alg, { privateKey }]) => (
    { ...privateKey.export({ format: 'jwk' }), alg, kid: alg, use: 'sig' }
  )),
};

// The resource indicators a client may ask for. Without an algorithm, the tokens are opaque. Only those
// of elsewhere are not meant for the protected API.
const resources = {
  [AUDIENCE]: { audience: AUDIENCE, alg: 'ES256' },
  [`${AUDIENCE}/ps256`]: { audience: AUDIENCE, alg: 'PS256' },
  [`${AUDIENCE}/rs256`]: { audience: AUDIENCE, alg: 'RS256' },
  [`${AUDIENCE}/eddsa`]: { audience: AUDIENCE, alg: 'EdDSA' },
  [`${AUDIENCE}/opaque`]: { audience: AUDIENCE },
  'https://elsewhere.example.com': { audience: 'https://elsewhere.example.com', alg: 'ES256' },
  'https://elsewhere.example.com/opaque': { audience: 'https://elsewhere.example.com' },
};

const certified = (file) => {
  const certificate = new X509Certificate(readFileSync(file));
  const x5c = [certificate.raw.toString('base64')];
  return { jwks: { keys: [{ ...certificate.publicKey.export({ format: 'jwk' }), x5c }] } };
};
const machine = { grant_types: ['client_credentials'], redirect_uris: [], response_types: [], scope: 'read' };
const gateway = { grant_types: [], redirect_uris: [], response_types: [], introspection_signed_response_alg: 'ES256' };
const clients = [
  { ...machine, client_id: 'dpop-client', client_secret: 'secret', dpop_bound_access_tokens: true },
  {
    ...machine,
    client_id: 'mtls-client',
    token_endpoint_auth_method: 'self_signed_tls_client_auth',
    tls_client_certificate_bound_access_tokens: true,
    ...certified(CLIENT_CERTIFICATE_FILE),
  },
  { ...machine, client_id: 'bearer-client', client_secret: 'secret' },
  { ...gateway, client_id: 'gateway-secret', client_secret: 'a secret: 100% & more+' },
  {
    ...gateway,
    ...certified(GATEWAY_CERTIFICATE_FILE),
    client_id: 'gateway-certificate',
    token_endpoint_auth_method: 'self_signed_tls_client_auth',
  },
  {
    ...gateway,
    client_id: 'gateway-key',
    token_endpoint_auth_method: 'private_key_jwt',
    jwks: { keys: [createPublicKey(readFileSync(GATEWAY_CERTIFICATE_FILE)).export({ format: 'jwk' })] },
  },
];

const server = createServer({
  cert: readFileSync(CERTIFICATE_FILE),
  key: readFileSync(KEY_FILE),
  requestCert: true,
  rejectUnauthorized: false,
});

// The issuer's name carries the port, which only a listening server knows.
server.listen(0, '127.0.0.1', () => {
  const issuer = `https://127.0.0.1:${server.address().port}`;
  const provider = new Provider(issuer, {
    clients,
    jwks,
    scopes: ['read'],
    // Scripts in browsers may ask for tokens.
    clientBasedCORS: () => true,
    clientAuthMethods: ['client_secret_basic', 'self_signed_tls_client_auth', 'private_key_jwt'],
    enabledJWA: { dPoPSigningAlgValues: ['ES256', 'PS256', 'Ed25519', 'EdDSA'] },
    ttl: { ClientCredentials: 600 },
    features: {
      clientCredentials: { enabled: true },
      devInteractions: { enabled: false },
      dPoP: { enabled: true },
      introspection: { enabled: true },
      jwtIntrospection: { enabled: true },
      revocation: { enabled: true },
      mTLS: {
        enabled: true,
        certificateBoundAccessTokens: true,
        selfSignedTlsClientAuth: true,
        getCertificate: (ctx) => ctx.socket.getPeerX509Certificate(),
      },
      resourceIndicators: {
        enabled: true,
        getResourceServerInfo(ctx, indicator) {
          const { audience, alg } = resources[indicator];
          const form = alg ? { accessTokenFormat: 'jwt', jwt: { sign: { alg } } } : { accessTokenFormat: 'opaque' };
          return { audience, scope: 'read', ...form };
        },
      },
    },
  });
  server.on('request', provider.callback());
  console.log(JSON.stringify({ issuer }));
});

process.stdin.on('end', () => process.exit()).resume();
