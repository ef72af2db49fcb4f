// foreign.mjs - an independent engine behind as much of OpenAI's protocol as a probe asks for, to hold a probe's scores against: the
// same file, greedy, with another tokenizer, another template engine and other kernels.
//
//   npm install node-llama-cpp        (anywhere; NODE_PATH or this folder's node_modules)
//   node bench/peers.d/foreign.mjs models/seedling-q8_0.gguf 8093 [RECORDING] &
//   quern audit --endpoint http://127.0.0.1:8093/v1 --model seedling
//
// With RECORDING, every exchange is written there when the process is told to end (SIGTERM, SIGINT): what was asked as a hash, what was
// answered as it was. tests/data/foreign/README.md draws the file.
import fs from 'node:fs';
import http from 'node:http';
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';
import path from 'node:path';

const [file, port, recording] = process.argv.slice(2);
const base = process.env.NODE_PATH || path.dirname(new URL(import.meta.url).pathname) + '/node_modules';
const load = name => import(pathToFileURL(createRequire(base + '/x.js').resolve(name)));
const entry = name => import(pathToFileURL(path.join(base, name)));
const { getLlama } = await entry('node-llama-cpp/dist/index.js');
const { Template } = await load('@huggingface/jinja');

const llama = await getLlama({ gpu: false, logLevel: 'error', build: 'never' });
const model = await llama.loadModel({ modelPath: file, useMmap: true });
const context = await model.createContext({ contextSize: Math.min(model.trainContextSize, 8192), sequences: 1, threads: 1 });
const sequence = context.getSequence();
const template = new Template(model.fileInfo.metadata.tokenizer.chat_template);

async function complete(text, special, max, stops) {
  const tokens = model.tokenize(text, special);
  await sequence.clearHistory();
  const out = [];
  let reason = 'stop', said = '';
  for await (const t of sequence.evaluate(tokens, { temperature: 0 })) {
    if (model.isEogToken(t)) break;
    out.push(t);
    said = model.detokenize(out, false, tokens.slice(-4));
    const stop = stops.find(s => said.includes(s));
    if (stop) { said = said.slice(0, said.indexOf(stop)); break; }
    if (out.length >= max) { reason = 'length'; break; }
  }
  return { said, reason, usage: { prompt_tokens: tokens.length, completion_tokens: out.length } };
}

// ---- what was asked and answered ----

const recorded = { tokenize: new Map(), chat: new Map() };

// FNV-1a of 64 bits, as 16 hexadecimal digits.
function fnv(text) {
  let lo = 0x84222325, hi = 0xcbf29ce4;
  for (const b of Buffer.from(text)) {
    lo = (lo ^ b) >>> 0;
    const p = lo * 0x1b3;
    hi = (Math.imul(hi, 0x1b3) + Math.imul(lo, 0x100) + Math.floor(p / 2 ** 32)) >>> 0;
    lo = p >>> 0;
  }
  return hi.toString(16).padStart(8, '0') + lo.toString(16).padStart(8, '0');
}

function save() {
  const version = name => JSON.parse(fs.readFileSync(path.join(base, name, 'package.json'))).version;
  const about = { engine: `node-llama-cpp ${version('node-llama-cpp')} (${llama.llamaCppRelease.release})`, template: `@huggingface/jinja ${version('@huggingface/jinja')}` };
  const rows = name => `"${name}":{\n` + [...recorded[name]].sort().map(([k, v]) => `"${k}":${JSON.stringify(v)}`).join(',\n') + '\n}';
  fs.writeFileSync(recording, `{"about":${JSON.stringify(about)},\n${rows('chat')},\n${rows('tokenize')}}\n`);
  process.exit(0);
}
if (recording) process.on('SIGTERM', save).on('SIGINT', save);

// ---- the protocol ----

// Arguments of calls come as text and templates read objects.
const readable = m => (!m.tool_calls ? m : { ...m, tool_calls: m.tool_calls.map(c => ({ ...c, function: { ...c.function, arguments: JSON.parse(c.function.arguments) } })) });

let queue = Promise.resolve();
async function answer(url, body) {
  if (url.endsWith('/tokenize')) {
    const tokens = model.tokenize(body.content, Boolean(body.parse_special));
    recorded.tokenize.set(fnv(body.content), tokens.length);
    return { tokens };
  }
  const chat = url.endsWith('/chat/completions');
  if (body.tools) throw new Error('tools are not offered to the model here');
  const text = chat ? template.render({ messages: body.messages.map(readable), add_generation_prompt: true, bos_token: '', eos_token: '<|im_end|>' }) : body.prompt;
  const r = await (queue = queue.then(() => complete(text, chat, body.max_tokens, [body.stop ?? []].flat())));
  if (chat) recorded.chat.set(fnv(`${body.max_tokens} ${body.temperature} ${JSON.stringify(body.messages)}`), [r.said, r.reason, r.usage.prompt_tokens, r.usage.completion_tokens]);
  const choice = chat ? { index: 0, message: { role: 'assistant', content: r.said }, finish_reason: r.reason } : { index: 0, text: r.said, finish_reason: r.reason };
  return { object: chat ? 'chat.completion' : 'text_completion', model: body.model, choices: [choice], usage: r.usage };
}

http.createServer((req, res) => {
  let data = '';
  req.on('data', d => (data += d));
  req.on('end', async () => {
    let status = 200, out;
    try { out = await answer(req.url, JSON.parse(data)); } catch (e) { status = 400; out = { error: { message: String(e.message) } }; }
    res.writeHead(status, { 'content-type': 'application/json' });
    res.end(JSON.stringify(out));
  });
}).listen(Number(port), '127.0.0.1', () => console.error(`listening on ${port}`));
