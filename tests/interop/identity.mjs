// What an API does with the assertion that came with a request. Prints the claims of each, one JSON line for one.
import { readFileSync } from 'node:fs';
import { createRemoteJWKSet, jwtVerify } from 'jose';

const keys = createRemoteJWKSet(new URL(process.env.JWKS));
const options = { issuer: 'keybound', audience: process.env.AUDIENCE, typ: 'identity+jwt', clockTolerance: 5 };

for (const assertion of readFileSync(process.env.ASSERTIONS, 'utf8').split('\n')) {
  const { payload } = await jwtVerify(assertion, keys, options);
  console.log(JSON.stringify(payload));
}
