// A server of Node's own, with its lenient parser: every request's line goes to a file before it is answered, and files are
// found in whatever way a path can be read.
import { appendFileSync, existsSync, readFileSync, statSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';

const [root, log] = process.argv.slice(2);
const seen = (line) => appendFileSync(log, `${line}\n`);

const readings = [
  (target) => decodeURIComponent(new URL(target, 'http://origin').pathname),
  (target) => decodeURIComponent(target.split('?')[0]),
  (target) => decodeURIComponent(target.split(/[?#]/)[0]).replaceAll('\\', '/').replaceAll(/;[^/]*/g, ''),
  (target) => unescape(target.split('?')[0]),
];

function found(target) {
  for (const reading of readings) {
    try {
      const file = join(root, reading(target));
      if (file.startsWith(root) && existsSync(file) && statSync(file).isFile()) return readFileSync(file);
    } catch {
      // That one cannot read it.
    }
  }
}

const server = createServer({ insecureHTTPParser: true, keepAliveTimeout: 60_000 }, (request, response) => {
  seen(`${request.method} ${request.url} HTTP/${request.httpVersion}`);
  request.resume().on('end', () => {
    const file = /^\/(api|open)\//.test(request.url) ? Buffer.from('fine') : found(request.url);
    response.writeHead(file ? 200 : 404).end(file);
  });
});
server.on('clientError', (error, socket) => {
  // A connection that ends in the middle of a request is none of those that cannot be read.
  if (error.code !== 'ECONNRESET' && error.code !== 'HPE_INVALID_EOF_STATE') seen(`MALFORMED ${error.code}`);
  socket.destroy();
});
server.listen(0, '127.0.0.1', () => console.log(server.address().port));
