// run.mjs - the JSON Schema test suite (draft 2020-12) against the schema compiler, with ajv as the judge of samples.
// usage: node run.mjs SUITE/tests/draft2020-12 DRIVER [SAMPLES]
// For each schema that compiles: each valid instance must be accepted byte by byte, each invalid one refused, and SAMPLES
// outputs drawn from random logits must validate. A schema that does not compile must be refused as unsupported, by a path.
import { spawn } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import Ajv2020 from 'ajv/dist/2020.js';
import addFormats from 'ajv-formats';

const [dir, driver, samples = '200'] = process.argv.slice(2);
const child = spawn(driver, { stdio: ['pipe', 'pipe', 'inherit'] });
const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
const ask = async q => {
  child.stdin.write(JSON.stringify(q) + '\n');
  const { value, done } = await lines.next();
  if (done) throw new Error('the driver ended');
  return JSON.parse(value);
};
const ajv = () => {
  const a = new Ajv2020({ strict: false, multipleOfPrecision: 6, validateFormats: true, logger: false, ownProperties: true });
  addFormats(a);
  return a;
};
const n = { schemas: 0, supported: 0, refused: 0, empty: 0, valid: 0, invalid: 0, samples: 0, cut: 0, apart: 0 };
const reasons = new Map(), wrong = [];

// What is decided otherwise on purpose, see docs/GRAMMARS.md: formats are held to; numbers have at most 18 digits.
const apart = (file, text) => file === 'format.json' || file === 'vocabulary.json' || /\d{19,}|e[+]?\d{3}/.test(text);

for (const file of readdirSync(dir).filter(f => f.endsWith('.json')).sort())
  for (const group of JSON.parse(readFileSync(`${dir}/${file}`, 'utf8'))) {
    n.schemas++;
    const texts = group.tests.map(t => JSON.stringify(t.data));
    const a = await ask({ schema: group.schema, instances: texts, samples: +samples });
    if (!a.ok) {
      if (/nothing can match/.test(a.what) && group.tests.every(t => !t.valid)) { n.empty++; continue; }
      n.refused++;
      const why = /support|certain|known|too /.test(a.what) ? a.where.split('/').filter(k => /^[a-zA-Z$]/.test(k)).pop() ?? a.where : '?' + a.where + ' ' + a.what;
      reasons.set(why, (reasons.get(why) ?? 0) + 1);
      if (why.startsWith('?')) wrong.push(`${file}: ${group.description}: ${a.where}: ${a.what}`);
      continue;
    }
    n.supported++;
    group.tests.forEach((t, i) => {
      if (apart(file, texts[i])) { n.apart++; return; }
      n[t.valid ? 'valid' : 'invalid']++;
      if (a.accepted[i] !== t.valid) wrong.push(`${file}: ${group.description}: ${t.description}: ${texts[i]} is ${t.valid ? 'valid but refused' : 'invalid but accepted'}`);
    });
    let check;
    try { check = ajv().compile(group.schema); } catch { check = null; }
    n.cut += a.cut;
    if (a.bad) wrong.push(`${file}: ${group.description}: ${a.bad} samples met a dead end`);
    for (const s of a.samples) {
      let v;
      try { v = JSON.parse(s); } catch { wrong.push(`${file}: ${group.description}: sample is no JSON: ${s}`); break; }
      // ajv divides doubles: with many digits it cannot tell a multiple of 0.0001.
      if (!check || file === 'format.json' || (file === 'multipleOf.json' && s.replace(/\D/g, '').length > 9)) continue;
      n.samples++;
      if (!check(v)) { wrong.push(`${file}: ${group.description}: sample does not validate: ${s}`); break; }
    }
  }
child.stdin.end();
console.log(`schema suite: ${n.schemas} schemas: ${n.supported} compiled, ${n.empty} that nothing matches, ${n.refused} refused by a path`);
console.log(`schema suite: ${n.valid} valid instances accepted, ${n.invalid} invalid ones refused, ${n.apart} judged otherwise on purpose`);
console.log(`schema suite: ${n.samples} samples validated by ajv, ${n.cut} cut off unended`);
console.log('refused: ' + [...reasons].sort((x, y) => y[1] - x[1]).map(([k, v]) => `${k} ${v}`).join(', '));
for (const w of wrong) console.log('WRONG ' + w);
// The harness itself must notice a wrong answer.
const planted = await (async () => { const c = ajv().compile({ type: 'integer' }); return !c('x') && c(3); })();
if (!planted) { console.log('WRONG the judge does not judge'); process.exit(1); }
process.exit(wrong.length ? 1 : 0);
