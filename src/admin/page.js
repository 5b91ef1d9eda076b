// Draws /state.json every two seconds. Whatever it says is put in as text, never as markup.
'use strict';

const EVERY = 2000;
const MOST_OBSERVED = 50;
const FEW = 12;
const PARTS_OF_TIME = [['d', 86400], ['h', 3600], ['min', 60], ['s', 1]];
const FINDINGS = { holds: 'passed', fails: 'failed', unreached: 'not reached', needless: 'not asked', open: 'not asked' };

const $ = (id) => document.getElementById(id);
let paused = false;
let drawn = {};
let newest = [];
let most = FEW;

// An element with classes, attributes and children; text stays text.
function make(name, attributes = {}, ...children) {
  const space = ['svg', 'path', 'line', 'rect'].includes(name) ? 'http://www.w3.org/2000/svg' : 'http://www.w3.org/1999/xhtml';
  const element = document.createElementNS(space, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children.filter((child) => child !== null && child !== undefined && child !== ''));
  return element;
}
const tag = (kind, text) => make('span', { class: `tag ${kind}` }, text);
const code = (text) => make('code', {}, text);
const small = (text, kind = '') => make('small', { class: kind }, text);
const cell = (...children) => make('td', {}, ...children);
const number = (value) => make('td', { class: 'number' }, whole(value));

const whole = (value) => Number(value).toLocaleString('en');
const rate = (value) => (value >= 100 ? whole(Math.round(value)) : value >= 10 ? value.toFixed(1) : value.toFixed(value === 0 ? 0 : 2));
const words = (slug) => slug.replaceAll('_', ' ');
const plural = (count, one) => `${whole(count)} ${one}${count === 1 ? '' : 's'}`;

function time(seconds) {
  const at = PARTS_OF_TIME.findIndex(([, length]) => seconds >= length);
  if (at < 0) return '0 s';
  const [unit, length] = PARTS_OF_TIME[at];
  const next = PARTS_OF_TIME[at + 1];
  const rest = next ? Math.floor((seconds % length) / next[1]) : 0;
  return `${Math.floor(seconds / length)} ${unit}${rest ? ` ${rest} ${next[0]}` : ''}`;
}

// Texts of the catalogue write names between backticks.
const prose = (text) => text.split('`').map((piece, index) => (index % 2 ? code(piece) : piece));

const clock = (date) => date.toLocaleTimeString('en-GB');

// Draws a part only where its data changed, so that nothing moves without a reason.
function part(name, data, draw) {
  const text = JSON.stringify(data);
  if (drawn[name] === text) return;
  drawn[name] = text;
  draw(data);
}
function fill(id, children, empty) {
  $(id).replaceChildren(...children);
  if (empty) $(empty).hidden = children.length > 0;
}

function draw(state) {
  $('main').hidden = false;
  $('version').textContent = state.version;
  $('seen').textContent = `Updated ${clock(new Date())}`;
  part('states', [state.readiness, state.configuration], states);
  part('notes', [state.readiness.words, state.configuration, state.issuers.map((it) => it.last_error), state.listeners], () => notes(state));
  figures(state);
  part('series', state.rates.series, chart);
  part('reasons', state.rates.by_reason, reasons);
  newest = state.refusals;
  part('refusals', newest.map((one) => one.request_id), () => refusals());
  part('routes', state.routes, routes);
  part('issuers', state.issuers, issuers);
  part('upstreams', state.upstreams, upstreams);
  part('observed', state.observed, observed);
  const listening = state.listeners.map((it) => `${it.tls ? 'https' : 'http'}://${it.address}`).join(', ');
  $('about').textContent = `Keybound ${state.version}, running for ${time(state.now - state.started)}, listening on ${listening}`;
}

function states([readiness, configuration]) {
  fill('states', [
    readiness.ready ? tag(readiness.words.length ? 'warn' : 'good', readiness.words.length ? 'Ready, degraded' : 'Ready') : tag('bad', 'Not ready'),
    configuration.current ? tag('', 'Configuration in force') : tag('bad', 'Configuration refused'),
  ]);
}

function notes(state) {
  const all = [...state.readiness.words];
  if (!state.configuration.current) all.push('The configuration was changed and refused; the one before is in force. The log says why, with line and column.');
  for (const { address, certificate_expires_in: left } of state.listeners) {
    if (left !== null && left < 14 * 86400) all.push(left > 0 ? `The certificate of ${address} expires in ${time(left)}.` : `The certificate of ${address} has expired.`);
  }
  fill('notes-list', all.map((text) => make('li', {}, text)));
  $('notes').hidden = all.length === 0;
}

function figures({ rates, connections, replay }) {
  $('rate-requests').textContent = rates.now ? rate(rates.now.requests) : '–';
  $('rate-refused').textContent = rates.now ? rate(rates.now.refused) : '–';
  $('rate-refused').classList.toggle('some', rates.now !== null && rates.now.refused > 0);
  $('connections').textContent = whole(connections);
  const share = replay.entries / replay.capacity;
  $('replay-fill').textContent = `${share === 0 ? 0 : share < 0.001 ? '<0.1' : (share * 100).toFixed(1)} %`;
  $('replay-meter').value = share;
  const store = replay.store === null ? '' : replay.store.trouble ? '; store in trouble' : '; shared store answers';
  $('replay-entries').textContent = `${plural(replay.entries, 'proof')} of ${whole(replay.capacity)}${store}`;
}

function chart(series) {
  const [width, height, steps] = [600, 140, 99];
  const top = Math.max(1, ...series.map((moment) => moment.requests)) * 1.1;
  const x = (index) => width - ((series.length - 1 - index) * width) / steps;
  const y = (value) => height - (value / top) * (height - 6);
  const line = (key) => series.map((moment, index) => `${index ? 'L' : 'M'}${x(index).toFixed(1)} ${y(moment[key]).toFixed(1)}`).join('');
  const lines = [0.25, 0.5, 0.75].map((at) => make('line', { class: 'grid', x1: 0, x2: width, y1: height * at, y2: height * at }));
  const paths = series.length < 2 ? [] : [
    make('path', { class: 'requests', d: `${line('requests')}L${width} ${height}L${x(0).toFixed(1)} ${height}Z` }),
    make('path', { class: 'refused', d: line('refused') }),
  ];
  fill('chart', [...lines, ...paths]);
  const peak = (key) => rate(Math.max(0, ...series.map((moment) => moment[key])));
  $('chart-caption').textContent = `The last five minutes: at most ${peak('requests')} requests and ${peak('refused')} refused each second.`;
}

function reasons(all) {
  const sorted = [...all].sort((a, b) => (b.recently ?? 0) - (a.recently ?? 0) || b.total - a.total);
  const highest = Math.max(1, ...sorted.map((one) => one.recently ?? 0));
  const row = ({ reason, meaning, recently, total }) => {
    const bar = make('svg', { class: 'share', viewBox: '0 0 100 1', preserveAspectRatio: 'none', 'aria-hidden': 'true' },
      make('rect', { width: ((recently ?? 0) / highest) * 100, height: 1 }));
    return make('tr', {}, cell(make('span', { title: meaning }, words(reason)), recently ? bar : null), number(recently ?? 0), number(total));
  };
  fill('reasons', sorted.length ? sorted.map(row) : [make('tr', {}, make('td', { colspan: 3, class: 'empty' }, 'None yet.'))]);
}

// Refusals: entries stay while somebody reads one.
function refusals(force = false) {
  const list = $('refusals');
  const shown = newest.slice(0, most);
  const known = new Set([...list.children].map((item) => item.dataset.id));
  const fresh = shown.filter((one) => !known.has(one.request_id));
  const reads = list.querySelector('details[open]') || list.contains(document.activeElement);
  $('no-refusals').hidden = newest.length > 0;
  if (reads && !force && fresh.length) {
    $('newer-line').hidden = false;
    $('newer').textContent = `Show ${fresh.length} newer`;
    return;
  }
  $('newer-line').hidden = true;
  $('older-line').hidden = newest.length <= most;
  $('older').textContent = `Show ${newest.length - shown.length} older`;
  const kept = new Map([...list.children].map((item) => [item.dataset.id, item]));
  const items = shown.map((one) => kept.get(one.request_id) ?? entry(one));
  const gone = [...list.children].filter((item) => !items.includes(item));
  gone.forEach((item) => item.remove());
  items.forEach((item, index) => {
    if (list.children[index] !== item) list.insertBefore(item, list.children[index] ?? null);
  });
}

function entry(one) {
  const asked = `${one.method} ${one.host ?? ''}${one.path ?? ''}`.trim();
  const what = [asked, one.route ? `route ${one.route}` : 'no route', one.client_id ? `client ${one.client_id}` : `from ${one.peer}`];
  const at = new Date(one.at);
  const summary = make('summary', {},
    make('time', { datetime: one.at, title: at.toLocaleString('en-GB') }, clock(at)),
    make('span', { class: 'why' }, words(one.reason)),
    tag(one.observes ? 'warn' : one.status >= 500 ? 'bad' : '', one.observes ? 'observed' : String(one.status)),
    make('span', { class: 'what' }, what.join(' · ')));
  const body = make('div', { class: 'explained' });
  const details = make('details', {}, summary, body);
  details.addEventListener('toggle', () => {
    if (details.open && !body.hasChildNodes()) explain(one, body);
    if (!details.open) drawn.refusals = '';
  });
  const item = make('li', {}, details);
  item.dataset.id = one.request_id;
  return item;
}

async function explain(one, body) {
  body.append(make('p', { class: 'quiet' }, 'Asking…'));
  try {
    const answer = await fetch(`/explain/${one.request_id}`, { headers: { Accept: 'application/json' } });
    if (!answer.ok) throw new Error(await answer.text());
    body.replaceChildren(...explained(await answer.json()));
  } catch (error) {
    body.replaceChildren(make('p', {}, `Not to be had: ${error.message}`));
  }
}

function explained(it) {
  const facts = [
    ['Meaning', prose(it.meaning)],
    ['Answer', `${it.status}${it.error ? ` ${it.error}` : ''}${it.observes ? ', had the route enforced; it passed unproven' : ''}`],
    ['Client', prose(it.client)],
    ['Operator', prose(it.operator)],
    ['Asked by', it.client_id ? `${it.client_id}, ${it.peer}` : it.peer],
    ['Request id', code(it.request_id)],
  ];
  const parts = [];
  for (const check of it.checks) {
    if (parts.at(-1)?.name !== check.part) parts.push({ name: check.part, checks: [] });
    parts.at(-1).checks.push(check);
  }
  const one = (check) => {
    const found = [check.expected && `expected ${check.expected}`, check.found && `found ${check.found}`].filter(Boolean).join(', ');
    return make('li', { class: check.outcome, title: `${check.specification}${check.why ? `: ${check.why}` : ''}` },
      make('span', {}, check.what, make('span', { class: 'heard' }, `: ${FINDINGS[check.outcome]}`)),
      check.outcome === 'fails' && found ? small(found) : null);
  };
  return [
    make('div', { class: 'parts' }, ...parts.map(({ name, checks }) =>
      make('div', {}, make('h3', {}, name), make('ul', {}, ...checks.map(one))))),
    make('dl', { class: 'facts' }, ...facts.flatMap(([name, value]) => [make('dt', {}, name), make('dd', {}, ...[value].flat())])),
  ];
}

function routes(all) {
  const row = (route) => {
    const match = [route.methods.join(' '), route.hosts.join(', ') + route.path_prefix].filter(Boolean).join(' ');
    const kind = { enforce: 'good', observe: 'warn', public: '' }[route.access];
    const demands = [];
    if (route.bindings) demands.push(route.bindings.join(' or ') + (route.unbound_tokens ? ', unbound too' : ''));
    if (route.scopes?.length) demands.push(`scope ${route.scopes.join(' ')}`);
    const upstream = route.upstream ?? 'decides only';
    return make('tr', {}, cell(route.name, small(match, 'mono'), small(`→ ${upstream}`, 'under')),
      cell(tag(kind, route.access), small(demands.join('; '))), cell(upstream), number(route.requests), number(route.refused));
  };
  fill('routes', all.map(row));
}

function issuers(all) {
  const card = (issuer) => {
    const loaded = issuer.keys_age === null ? 'No keys yet.' : `${plural(issuer.keys.length, 'key')}, confirmed ${time(issuer.keys_age)} ago.`;
    const asked = issuer.introspection;
    const introspected = asked && `Asked about opaque tokens: ${whole(asked.active)} active, ${whole(asked.inactive)} inactive, ${whole(asked.unavailable)} without an answer.`;
    return make('li', {}, make('h3', {}, issuer.issuer),
      make('p', { class: issuer.keys_age === null ? 'bad' : '' }, loaded),
      issuer.last_error ? make('p', { class: 'bad' }, `The last attempt failed: ${issuer.last_error}`) : null,
      introspected ? make('p', { class: asked.last_error ? 'bad' : '' }, introspected) : null,
      issuer.keys.length ? make('ul', { class: 'keys' }, ...issuer.keys.map((key) => make('li', {}, code(key.kid ?? 'no kid'), small(key.alg)))) : null);
  };
  fill('issuers', all.map(card), 'no-issuers');
}

function upstreams(all) {
  const health = { true: ['good', 'used'], false: ['bad', 'left out'], null: ['', 'not watched'] };
  const card = ({ name, endpoints, health_check: check }) => make('li', {},
    name === endpoints[0]?.url ? null : make('h3', {}, name),
    check ? make('p', {}, 'Health check at ', code(check)) : null,
    make('ul', {}, ...endpoints.map(({ url, used }) => make('li', {}, code(url), tag(...health[String(used)])))));
  fill('upstreams', all.map(card), 'no-upstreams');
}

function observed({ would_be_refused: rows, beyond }) {
  const last = (it) => new Date(it.last * 1000).toLocaleString('en-GB', { dateStyle: 'short', timeStyle: 'short' });
  const row = (it) => make('tr', {}, cell(it.client, small(`route ${it.route}, last ${last(it)}`, 'under')), cell(words(it.reason)), cell(it.route), number(it.requests),
    make('td', { class: 'when' }, last(it)));
  fill('observed', rows.slice(0, MOST_OBSERVED).map(row), 'no-observed');
  const more = rows.length - MOST_OBSERVED;
  $('observed-more').textContent = (more > 0 ? `${whole(more)} more rows are at /observed. ` : '') + (beyond ? `${plural(beyond, 'request')} found no room.` : '');
  $('observed-table').hidden = rows.length === 0;
}

async function look() {
  if (!paused && !document.hidden) {
    try {
      const answer = await fetch('/state.json', { cache: 'no-store', signal: AbortSignal.timeout(10_000) });
      if (!answer.ok) throw new Error(`${answer.status} ${(await answer.text()).trim()}`);
      draw(await answer.json());
      say('');
    } catch (error) {
      say(`The gateway does not answer (${error.message}). Trying again; what is shown is of before.`);
    }
  }
  setTimeout(look, EVERY);
}

// Spoken by screen readers: only what changes.
function say(text) {
  if ($('trouble').textContent !== text) $('trouble').textContent = text;
}

$('pause').addEventListener('click', () => {
  paused = !paused;
  $('pause').setAttribute('aria-pressed', String(paused));
});
$('newer').addEventListener('click', () => {
  refusals(true);
  $('refusals').querySelector('summary')?.focus();
});
$('older').addEventListener('click', () => {
  const next = $('refusals').children.length;
  most = newest.length;
  refusals(true);
  $('refusals').children[next]?.querySelector('summary').focus();
});
look();
