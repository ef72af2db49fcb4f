// The official ollama package against a running server: every method for which there is an endpoint.
import assert from 'node:assert/strict';
import { Ollama } from 'ollama';
import { check, finish, refused, url } from './check.mjs';

const client = new Ollama({ host: url });
const model = 'seedling';
const sum = [{ role: 'user', content: 'Write a Python function that returns the sum of a list.' }];
const options = { temperature: 0, num_predict: 60 };

await check('list, ps, show, version', async () => {
  assert.equal((await client.list()).models[0].name, model);
  const shown = await client.show({ model });
  assert.ok(shown.capabilities.includes('completion'));
  assert.equal(shown.model_info['qwen2.context_length'], 2048);
  await client.chat({ model, messages: sum, options: { num_predict: 1 } });
  assert.equal((await client.ps()).models[0].name, model);
  assert.match((await client.version()).version, /^\d+\.\d+\.\d+$/);
});

await check('chat, streamed, is the same text', async () => {
  const whole = await client.chat({ model, messages: sum, options });
  assert.match(whole.message.content, /def sum_list/);
  assert.equal(whole.done_reason, 'stop');
  let text = '';
  let last;
  for await (const part of await client.chat({ model, messages: sum, options, stream: true })) {
    text += part.message.content;
    last = part;
  }
  assert.equal(text, whole.message.content);
  assert.ok(last.done && last.eval_count > 0 && last.total_duration > 0);
});

await check('generate, with and without a stream', async () => {
  const whole = await client.generate({ model, prompt: 'def add(a, b):', raw: true, options: { temperature: 0, num_predict: 8 } });
  let text = '';
  for await (const part of await client.generate({ model, prompt: 'def add(a, b):', raw: true, stream: true, options: { temperature: 0, num_predict: 8 } }))
    text += part.response;
  assert.equal(text, whole.response);
  assert.equal(whole.done_reason, 'length');
});

await check('a form for the answer', async () => {
  const format = { type: 'object', properties: { n: { type: 'integer', minimum: 1, maximum: 9 } }, required: ['n'], additionalProperties: false };
  for (let seed = 0; seed < 5; seed++) {
    const r = await client.chat({ model, messages: sum, format, options: { temperature: 1, seed } });
    const { n } = JSON.parse(r.message.content);
    assert.ok(Number.isInteger(n) && n >= 1 && n <= 9);
  }
});

await check('embeddings', async () => {
  const r = await client.embed({ model, input: ['a', 'b'] });
  assert.equal(r.embeddings.length, 2);
  assert.equal((await client.embeddings({ model, prompt: 'a' })).embedding.length, r.embeddings[0].length);
});

await check('refusals', async () => {
  const e = await refused(400, client.chat({ model, messages: [{ role: 'user', content: 'word '.repeat(4000) }] }));
  assert.match(e.message, /exceeds the available context size/);
});

await finish('ollama');
