// Opens the page in Chromium, first as the app and then as a stranger, and prints what came of each call, one JSON line
// for each. Leaves pictures and the console's lines in ARTEFACTS.
import { createRequire } from 'node:module';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';

// The packages of the interop tests.
const { chromium } = createRequire(new URL('../interop/package.json', import.meta.url))('playwright-core');
const { CHROMIUM, KEY_HASH, ARTEFACTS, APP, STRANGER, API, ISSUER, AUDIENCE } = process.env;
const PATIENCE = 20_000;

// However busy the machine is, all of it takes no longer.
setTimeout(() => {
  console.error('too slow');
  process.exit(1);
}, 2 * PATIENCE).unref();

const browser = await chromium.launch({
  executablePath: CHROMIUM,
  timeout: PATIENCE,
  // Root has no sandbox. The one certificate that is trusted is named by its key.
  args: [
    ...(process.getuid() === 0 ? ['--no-sandbox'] : []),
    '--disable-dev-shm-usage',
    '--disable-background-networking',
    `--ignore-certificate-errors-spki-list=${KEY_HASH}`,
  ],
});
const said = [];
try {
  for (const [role, origin] of [['app', APP], ['stranger', STRANGER]]) {
    const page = await browser.newPage({ viewport: { width: 1100, height: 600 } });
    page.on('console', (message) => said.push(`${role} ${message.type()} ${message.text()}`));
    page.on('pageerror', (error) => said.push(`${role} failed ${error}`));
    page.on('response', (response) => said.push(`${role} ${response.request().method()} ${response.url()} ${response.status()}`));
    const asked = new URLSearchParams({ role, api: API, issuer: ISSUER, audience: AUDIENCE });
    await page.goto(`${origin}/?${asked}`, { timeout: PATIENCE });
    await page.waitForFunction(() => window.done, undefined, { timeout: PATIENCE });
    await page.screenshot({ path: join(ARTEFACTS, `${role}.png`) });
    for (const call of await page.evaluate(() => window.calls)) console.log(JSON.stringify(call));
  }
} finally {
  writeFileSync(join(ARTEFACTS, 'console.log'), `${said.join('\n')}\n`);
  await browser.close();
}
