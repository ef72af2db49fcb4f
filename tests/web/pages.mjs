// pages.mjs - opens pages in headless Chromium, at the widths of a phone and of a desk, in light and dark, and as print:
// no message on the console, nothing fetched, nothing wider than the window, words that stand out from what is behind them.
//
//   node pages.mjs CHROMIUM FILE.html...          says what is wrong; exit 1 if anything is
//   SHOTS=DIR: a picture of every view, to look at
//
// Chromium is spoken to through a pipe (--remote-debugging-pipe: JSON with NULs between), so no package is needed.
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';

const [chromium, ...files] = process.argv.slice(2);
const shots = process.env.SHOTS;
const profile = mkdtempSync(join(tmpdir(), 'quern-web-'));
const browser = spawn(chromium, ['--headless=new', '--remote-debugging-pipe', '--no-sandbox', '--disable-gpu', '--no-first-run', '--disable-dev-shm-usage',
  '--disable-background-networking', '--hide-scrollbars', `--user-data-dir=${profile}`, 'about:blank'], { stdio: ['ignore', 'ignore', 'ignore', 'pipe', 'pipe'] });
const [, , , down, up] = browser.stdio;

let next = 1, rest = '', heard = () => {};
const waiting = new Map();
down.on('error', () => {});
up.setEncoding('utf8').on('data', (text) => {
  const parts = (rest + text).split('\0');
  rest = parts.pop();
  for (const part of parts) {
    const m = JSON.parse(part);
    if (!m.id) { heard(m); continue; }
    const { ok, no } = waiting.get(m.id);
    waiting.delete(m.id);
    m.error ? no(new Error(m.error.message)) : ok(m.result);
  }
});
browser.on('exit', () => { for (const { no } of waiting.values()) no(new Error('the browser has ended')); });
const send = (method, params = {}, sessionId) => new Promise((ok, no) => {
  waiting.set(next, { ok, no });
  down.write(JSON.stringify({ id: next++, method, params, sessionId }) + '\0');
});

// Runs in the page: what is wrong with how it looks.
function look(width) {
  const bad = [], root = document.documentElement;
  if (root.scrollWidth > width) {
    const far = [...document.querySelectorAll('body *')].filter((e) => !e.closest('.wide, svg, pre') && e.getBoundingClientRect().right > width + 1);
    bad.push(`is ${root.scrollWidth} wide in ${width}: ${far.slice(0, 3).map((e) => e.tagName + '.' + e.className).join(', ')}`);
  }
  const numbers = (c) => c.match(/[\d.]+/g).map(Number);
  const luminance = (c) => {
    const [r, g, b] = c.map((v) => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (e) => {
    for (; e; e = e.parentElement) {
      const c = numbers(getComputedStyle(e).backgroundColor);
      if (c.length < 4 || c[3] > 0) return c;
    }
    return [255, 255, 255];
  };
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT), seen = new Set();
  while (walk.nextNode()) {
    const e = walk.currentNode.parentElement;
    if (!walk.currentNode.textContent.trim() || seen.has(e) || e.closest('title, desc, style')) continue;
    seen.add(e);
    const s = getComputedStyle(e), svg = e.closest('svg'), box = e.getBoundingClientRect();
    if (s.visibility === 'hidden' || box.width === 0) continue;
    const a = luminance(numbers(svg ? s.fill : s.color)), b = luminance(behind(svg ? svg.parentElement : e));
    const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (contrast < 4.5) bad.push(`contrast ${contrast.toFixed(1)}: "${e.textContent.trim().slice(0, 30)}"`);
    if (svg && (box.right > width + 1 || box.left < -1)) bad.push(`a word of a drawing is cut off: "${e.textContent.trim().slice(0, 30)}"`);
    const size = parseFloat(s.fontSize);
    if (size < 11.5) bad.push(`${size} px: "${e.textContent.trim().slice(0, 30)}"`);
  }
  for (const svg of document.querySelectorAll('svg[role=img]')) {
    const named = document.getElementById(svg.getAttribute('aria-labelledby'));
    if (!named || !named.textContent.trim()) bad.push('a drawing has no name');
    if (!svg.closest('figure')?.querySelector('table')) bad.push(`no numbers beneath "${named?.textContent}"`);
  }
  if (!document.title.trim() || !document.querySelector('h1')) bad.push('no title');
  return { bad: [...new Set(bad)].slice(0, 8), dark: luminance(behind(document.body)) < 0.2, drawings: document.querySelectorAll('figure').length };
}

const VIEWS = [
  { name: '360', width: 360 }, { name: '1440', width: 1440 },
  { name: '360-dark', width: 360, scheme: 'dark' }, { name: '1440-dark', width: 1440, scheme: 'dark' },
  { name: 'print', width: 720, media: 'print', scheme: 'dark' },
];

async function check(file) {
  const wrong = [];
  const { targetId } = await send('Target.createTarget', { url: 'about:blank' });
  const { sessionId } = await send('Target.attachToTarget', { targetId, flatten: true });
  const ask = (method, params) => send(method, params, sessionId);
  let loaded;
  heard = (m) => {
    if (m.sessionId !== sessionId) return;
    const p = m.params;
    if (m.method === 'Page.loadEventFired') loaded();
    else if (m.method === 'Runtime.consoleAPICalled') wrong.push(`console.${p.type}`);
    else if (m.method === 'Runtime.exceptionThrown') wrong.push(`exception: ${p.exceptionDetails.text}`);
    else if (m.method === 'Log.entryAdded') wrong.push(`console: ${p.entry.text}`);
    else if (m.method === 'Network.requestWillBeSent' && p.type !== 'Document' && !p.request.url.startsWith('data:')) wrong.push(`fetches ${p.request.url}`);
  };
  for (const domain of ['Page', 'Runtime', 'Log', 'Network']) await ask(`${domain}.enable`);
  const url = pathToFileURL(resolve(file)).href;
  let drawings = 0;
  for (const v of VIEWS) {
    await ask('Emulation.setDeviceMetricsOverride', { width: v.width, height: 900, deviceScaleFactor: 1, mobile: false });
    await ask('Emulation.setEmulatedMedia', { media: v.media ?? 'screen', features: [{ name: 'prefers-color-scheme', value: v.scheme ?? 'light' }] });
    const done = new Promise((ok) => { loaded = ok; });
    await ask('Page.navigate', { url });
    await done;
    const { result, exceptionDetails } = await ask('Runtime.evaluate', { expression: `(${look})(${v.width})`, returnByValue: true });
    if (exceptionDetails) throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text);
    drawings = result.value.drawings;
    for (const b of result.value.bad) wrong.push(`${v.name}: ${b}`);
    if (result.value.dark !== v.name.endsWith('dark')) wrong.push(`${v.name}: the page is ${result.value.dark ? 'dark' : 'light'}`);
    if (shots) {
      const { data } = await ask('Page.captureScreenshot', { captureBeyondViewport: true, clip: { x: 0, y: 0, width: v.width, scale: 1,
        height: Math.min(12000, (await ask('Page.getLayoutMetrics')).cssContentSize.height) } });
      writeFileSync(join(shots, `${basename(file, '.html')}-${v.name}.png`), Buffer.from(data, 'base64'));
    }
  }
  const { data } = await ask('Page.printToPDF', { preferCSSPageSize: true });
  if (data.length < 1000) wrong.push('print: nothing');
  await send('Target.closeTarget', { targetId });
  return { wrong: [...new Set(wrong)], drawings };
}

let failed = 0;
const late = setTimeout(() => { console.log('the browser does not answer'); browser.kill('SIGKILL'); process.exit(1); }, 240000);
try {
  for (const f of files) {
    const { wrong, drawings } = await check(f);
    for (const w of wrong) console.log(`${basename(f)}: ${w}`);
    failed += wrong.length > 0;
    if (!wrong.length) console.log(`${basename(f)}: good in ${VIEWS.length} views, ${drawings} drawings`);
  }
} catch (e) {
  console.log(`failed: ${e.message}`);
  failed++;
}
clearTimeout(late);
const gone = new Promise((ok) => browser.on('exit', ok));
send('Browser.close').catch(() => {});
setTimeout(() => browser.kill('SIGKILL'), 5000).unref();
await gone;
for (let i = 0; i < 20; i++) { // its helpers may still be writing
  try { rmSync(profile, { recursive: true, force: true }); break; } catch { await new Promise((ok) => setTimeout(ok, 100)); }
}
process.exit(failed ? 1 : 0);
