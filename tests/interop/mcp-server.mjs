// A real MCP server over streamable HTTP, which knows nothing of tokens. It has one tool that answers at once, and one
// that is silent for SILENCE milliseconds, tells of its progress, and is silent again. With its answer comes a third tool,
// which the session's own stream tells of, after its first silence.
//
// Prints {"address": "127.0.0.1:PORT"}, then one line for each request that it sees; ends when its standard input does.
import { randomUUID } from 'node:crypto';
import { createServer } from 'node:http';
import { setTimeout as silence } from 'node:timers/promises';
import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import { StreamableHTTPServerTransport } from '@modelcontextprotocol/sdk/server/streamableHttp.js';
import { z } from 'zod';

const SILENCE = Number(process.env.SILENCE);
const text = (value) => ({ content: [{ type: 'text', text: String(value) }] });

async function session(sessions) {
  const mcp = new McpServer({ name: 'orders', version: '1.0.0' });
  mcp.registerTool('add', { inputSchema: { a: z.number(), b: z.number() } }, ({ a, b }) => text(a + b));
  mcp.registerTool('brew', {}, async ({ _meta, sendNotification }) => {
    await silence(SILENCE);
    const params = { progressToken: _meta.progressToken, progress: 1, total: 2 };
    await sendNotification({ method: 'notifications/progress', params });
    await silence(SILENCE);
    mcp.registerTool('pour', {}, () => text('poured'));
    return text('coffee');
  });
  const transport = new StreamableHTTPServerTransport({
    sessionIdGenerator: randomUUID,
    onsessioninitialized: (id) => sessions.set(id, transport),
  });
  await mcp.connect(transport);
  return transport;
}

const sessions = new Map();
const server = createServer(async (request, response) => {
  const { authorization = '', dpop } = request.headers;
  console.log(JSON.stringify({ method: request.method, url: request.url, scheme: authorization.split(' ')[0], dpop: dpop !== undefined }));
  const transport = sessions.get(request.headers['mcp-session-id']) ?? await session(sessions);
  await transport.handleRequest(request, response);
});
server.listen(0, '127.0.0.1', () => console.log(JSON.stringify({ address: `127.0.0.1:${server.address().port}` })));
process.stdin.on('end', () => process.exit()).resume();
