// An API that knows nothing of DPoP: it greets whom the gateway names.
import { createServer } from 'node:http';

const { LISTEN = '0.0.0.0', PORT = '8080' } = process.env;
const server = createServer((request, response) => {
  response.setHeader('content-type', 'application/json');
  response.end(`${JSON.stringify({ hello: request.headers['x-auth-client'], path: request.url })}\n`);
});
server.listen(Number(PORT), LISTEN, () => console.log('the API listens'));
for (const signal of ['SIGTERM', 'SIGINT']) process.on(signal, () => process.exit());
