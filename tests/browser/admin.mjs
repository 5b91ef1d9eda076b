// Opens the admin port's page in Chromium as people do: at a desk and on a phone, in light and in dark, with a keyboard,
// without scripts. Prints one JSON line for each thing that was looked at, and leaves pictures in ARTEFACTS.
import { createRequire } from 'node:module';
import { join } from 'node:path';

const require = createRequire(new URL('../interop/package.json', import.meta.url));
const { chromium } = require('playwright-core');
const { CHROMIUM, ARTEFACTS, ADMIN, API } = process.env;
const PATIENCE = 20_000;

// However busy the machine is, all of it takes no longer.
setTimeout(() => {
  console.error('too slow');
  process.exit(1);
}, 4 * PATIENCE).unref();

const report = (name, seen) => console.log(JSON.stringify([name, seen]));
const sizes = { desktop: { width: 1280, height: 900 }, phone: { width: 390, height: 844 } };

const browser = await chromium.launch({
  executablePath: CHROMIUM,
  timeout: PATIENCE,
  args: [...(process.getuid() === 0 ? ['--no-sandbox'] : []), '--disable-dev-shm-usage', '--disable-background-networking'],
});

// Routes that observe let these pass.
for (const headers of [{}, {}, { authorization: 'Bearer abc' }]) await fetch(`${API}/invoices/7`, { headers });

// Whatever a configuration or a request may hold.
const MARKUP = '<img src=x onerror=alert(1)><script>alert(2)</script>';
const LONG = `https://${'very-long-name.'.repeat(12)}example/`;

// A gateway that is in trouble, and has much to tell.
function troubled(state) {
  const [{ at }] = state.refusals;
  const refusal = (index) => ({
    request_id: `${index}`, at, method: 'DELETE', host: LONG, path: `/${MARKUP}`, peer: '2001:db8::1', client_id: MARKUP,
    route: MARKUP, observes: index % 2 === 0, reason: 'upstream_unreachable', status: 502, meaning: MARKUP,
  });
  return {
    ...state,
    readiness: { ready: false, words: [`issuer ${LONG}: no keys yet; ${MARKUP}`, 'draining: this process is about to end'] },
    configuration: { ...state.configuration, current: false },
    listeners: [{ address: '[::]:8443', tls: true, certificate_expires_in: 86400 }],
    routes: [...state.routes, { ...state.routes[0], name: MARKUP, hosts: [LONG, LONG], scopes: [MARKUP], upstream: LONG, requests: 12345678901 }],
    issuers: [{ issuer: LONG, keys: [], keys_age: null, last_error: MARKUP, introspection: { active: 1, inactive: 2, unavailable: 3, last_error: MARKUP } }],
    upstreams: [{ name: MARKUP, health_check: '/healthz', endpoints: [{ url: LONG, used: false }] }],
    replay: { entries: 3_900_000, capacity: 4_000_000, store: { trouble: MARKUP, errors: 1, local: 2 } },
    refusals: Array.from({ length: 60 }, (_, index) => refusal(index)),
    observed: { would_be_refused: Array.from({ length: 60 }, () => ({ route: MARKUP, client: LONG, reason: 'token_unbound', requests: 1, first: 1, last: 1 })), beyond: 3 },
  };
}

async function look(page) {
  const { violations, passes } = await page.evaluate(() => window.axe.run());
  const broken = violations.map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.html).join(' ')}`);
  const wider = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
  return { broken, checked: passes.length > 20, wider };
}

async function open(options, script = true, change = undefined) {
  const context = await browser.newContext({ javaScriptEnabled: script, ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(PATIENCE);
  const said = [];
  const elsewhere = [];
  page.on('console', (message) => said.push(`${message.type()} ${message.text()}`));
  page.on('pageerror', (error) => said.push(`failed ${error}`));
  page.on('request', (request) => request.url().startsWith(ADMIN) || elsewhere.push(request.url()));
  // Before the page's own policy, which allows no other scripts.
  if (script) await page.addInitScript({ path: require.resolve('axe-core/axe.min.js') });
  if (change) {
    await page.route('**/state.json', async (route) => {
      const response = await route.fetch();
      await route.fulfill({ response, json: change(await response.json()) });
    });
  }
  await page.goto(ADMIN);
  if (script) await page.waitForSelector('#routes tr');
  return { context, page, said, elsewhere };
}

// What has the focus, in words.
const focused = (page) => page.evaluate(() => {
  const { activeElement: it } = document;
  const outline = getComputedStyle(it);
  return {
    name: it.id || it.getAttribute('href') || it.querySelector?.('.why')?.textContent || it.tagName.toLowerCase(),
    kind: it.tagName.toLowerCase(),
    visible: outline.outlineStyle !== 'none' && parseFloat(outline.outlineWidth) >= 2,
  };
});

try {
  for (const [size, viewport] of Object.entries(sizes)) {
    for (const colorScheme of ['light', 'dark']) {
      const { context, page, said, elsewhere } = await open({ viewport, colorScheme });
      await page.locator('#refusals summary', { hasText: 'proof target' }).first().click();
      await page.waitForSelector('.parts .fails');
      await page.waitForFunction(() => document.querySelectorAll('#chart path').length === 2);
      await page.evaluate(() => document.activeElement.blur());
      await page.screenshot({ path: join(ARTEFACTS, `admin-${size}-${colorScheme}.png`), fullPage: true });
      const ground = await page.evaluate(() => getComputedStyle(document.body).backgroundColor);
      report(`${size} ${colorScheme}`, { ...(await look(page)), ground, said, elsewhere });
      await context.close();
    }
  }

  for (const [size, viewport] of Object.entries(sizes)) {
    const { context, page, said } = await open({ viewport }, true, troubled);
    await page.screenshot({ path: join(ARTEFACTS, `admin-${size}-trouble.png`), fullPage: true });
    const markup = await page.evaluate(() => document.querySelectorAll('main img, main script').length);
    const entries = page.locator('summary');
    const before = await entries.count();
    await page.locator('#older').click();
    const at = await page.evaluate(() => [...document.querySelectorAll('summary')].indexOf(document.activeElement));
    report(`trouble, ${size}`, { ...(await look(page)), markup, entries: [before, await entries.count()], at, said });
    await page.route('**/state.json', (route) => route.abort());
    await page.waitForSelector('#trouble:not(:empty)');
    report(`no answer, ${size}`, { told: (await page.locator('#trouble').textContent()).startsWith('The gateway does not answer') });
    await context.close();
  }

  const { context, page } = await open({ viewport: sizes.desktop });
  const walk = [];
  for (let steps = 0; steps < 80; steps += 1) {
    await page.keyboard.press('Tab');
    const at = await focused(page);
    if (at.kind === 'body') break;
    walk.push(at);
  }
  const names = walk.map(({ name }) => name);
  report('the keyboard', {
    first: names.slice(0, 2),
    last: names.at(-1),
    entries: walk.filter(({ kind }) => kind === 'summary').length === await page.locator('summary').count(),
    unseen: walk.filter(({ visible }) => !visible).map(({ name }) => name),
  });
  await page.locator('summary').first().focus();
  await page.keyboard.press('Enter');
  await page.waitForSelector('details[open] .parts .fails');
  const kept = await focused(page);
  // What is read stays, however the page is drawn anew.
  const drawn = await page.locator('#seen').textContent();
  await page.waitForFunction((before) => document.querySelector('#seen').textContent !== before, drawn);
  report('an opened entry', { kind: kept.kind, open: await page.locator('details[open]').count() });
  await page.locator('#pause').click();
  report('paused', { pressed: await page.locator('#pause').getAttribute('aria-pressed') });
  const texts = await page.evaluate(() => ({
    landmarks: ['header', 'main', 'footer', 'nav[aria-label]'].filter((it) => !document.querySelector(it)),
    captions: [...document.querySelectorAll('table')].filter((table) => !table.caption).length,
    headings: [...document.querySelectorAll('h1, h2')].map((heading) => heading.firstChild.nextSibling?.textContent ?? heading.textContent),
    markup: document.querySelectorAll('main img, main script').length,
  }));
  report('the outline', texts);
  await context.close();

  const plain = await open({ viewport: sizes.phone }, false);
  report('without scripts', { links: await plain.page.locator('.noscript a').allTextContents() });
  await plain.context.close();
} finally {
  await browser.close();
}
