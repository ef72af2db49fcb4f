// The official openai package against a running server: every endpoint that quern has and it has methods for.
import assert from 'node:assert/strict';
import OpenAI from 'openai';
import { check, finish, refused, url } from './check.mjs';

const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: 'x', maxRetries: 0, timeout: 60000 });
const model = 'seedling';
const sum = [{ role: 'user', content: 'Write a Python function that returns the sum of a list.' }];
const tools = [{
  type: 'function',
  function: {
    name: 'read_file',
    description: 'Read a file',
    parameters: { type: 'object', properties: { path: { type: 'string', maxLength: 40 } }, required: ['path'], additionalProperties: false },
  },
}];

await check('models', async () => {
  const list = await client.models.list();
  assert.equal(list.data[0].id, model);
  const one = await client.models.retrieve(model);
  assert.equal(one.object, 'model');
  await refused(404, client.models.retrieve('nothing'));
});

await check('chat', async () => {
  const r = await client.chat.completions.create({ model, messages: sum, temperature: 0, max_tokens: 60 });
  assert.match(r.choices[0].message.content, /def sum_list/);
  assert.equal(r.choices[0].finish_reason, 'stop');
  assert.equal(r.usage.total_tokens, r.usage.prompt_tokens + r.usage.completion_tokens);
  assert.ok(r.usage.prompt_tokens_details.cached_tokens >= 0);
});

await check('chat, streamed, is the same text', async () => {
  const whole = await client.chat.completions.create({ model, messages: sum, temperature: 0, max_tokens: 60 });
  const stream = await client.chat.completions.create({
    model, messages: sum, temperature: 0, max_tokens: 60, stream: true, stream_options: { include_usage: true },
  });
  let text = '';
  let finish = null;
  let usage = null;
  let role = null;
  for await (const chunk of stream) {
    const c = chunk.choices[0];
    if (c) {
      role ??= c.delta.role;
      text += c.delta.content ?? '';
      finish ??= c.finish_reason;
    } else {
      usage = chunk.usage;
    }
  }
  assert.equal(text, whole.choices[0].message.content);
  assert.equal(role, 'assistant');
  assert.equal(finish, 'stop');
  assert.equal(usage.completion_tokens, whole.usage.completion_tokens);
});

await check('chat through the helper', async () => {
  const runner = client.chat.completions.stream({ model, messages: sum, temperature: 0, max_tokens: 20 });
  const last = await runner.finalChatCompletion();
  assert.equal(last.choices[0].finish_reason, 'length');
});

await check('a seed decides', async () => {
  const ask = (seed) => client.chat.completions.create({ model, messages: sum, temperature: 1.5, seed, max_tokens: 30 });
  const [a, b, c] = await Promise.all([ask(5), ask(5), ask(6)]);
  assert.equal(a.choices[0].message.content, b.choices[0].message.content);
  assert.notEqual(a.choices[0].message.content, c.choices[0].message.content);
});

await check('n, stop, logprobs, logit_bias', async () => {
  const r = await client.chat.completions.create({
    model, messages: sum, temperature: 0, n: 2, stop: ['total', 'never'], logprobs: true, top_logprobs: 3,
  });
  assert.equal(r.choices.length, 2);
  assert.ok(!r.choices[0].message.content.includes('total'));
  assert.equal(r.choices[1].logprobs.content[0].top_logprobs.length, 3);
  const first = r.choices[0].logprobs.content[0];
  const { data } = await client.post('/tokenize', { body: { content: first.token } }).asResponse()
    .then(async (x) => ({ data: await x.json() }));
  const other = await client.chat.completions.create({
    model, messages: sum, temperature: 0, max_tokens: 1, logit_bias: { [data.tokens[0]]: -100 },
  });
  assert.notEqual(other.choices[0].message.content, first.token);
});

await check('tools', async () => {
  const messages = [{ role: 'user', content: 'Read the file src/main.c' }];
  const stream = await client.chat.completions.create({ model, messages, tools, temperature: 0, max_tokens: 200, stream: true });
  for await (const chunk of stream)
    for (const call of chunk.choices[0]?.delta.tool_calls ?? []) {
      if (call.function.name) assert.equal(call.function.name, 'read_file');
      if (call.function.arguments) assert.equal(typeof call.function.arguments, 'string');
    }
  const history = [...messages,
    { role: 'assistant', content: null, tool_calls: [{ id: 'call_1', type: 'function', function: { name: 'read_file', arguments: '{"path":"src/main.c"}' } }] },
    { role: 'tool', tool_call_id: 'call_1', content: 'int main(void) { return 0; }' }];
  const r = await client.chat.completions.create({ model, messages: history, tools, temperature: 0, max_tokens: 20 });
  assert.ok(['stop', 'length', 'tool_calls'].includes(r.choices[0].finish_reason));
});

await check('completions', async () => {
  const r = await client.completions.create({ model, prompt: ['def add(a, b):', 'def sub(a, b):'], max_tokens: 4, temperature: 0, echo: true });
  assert.equal(r.choices.length, 2);
  assert.ok(r.choices[1].text.startsWith('def sub(a, b):'));
  const gap = await client.completions.create({ model, prompt: 'def add(a, b):\n    return ', suffix: '\n', max_tokens: 4, temperature: 0, logprobs: 2 });
  assert.equal(gap.choices[0].logprobs.tokens.length, gap.usage.completion_tokens);
  let text = '';
  for await (const c of await client.completions.create({ model, prompt: 'def add(a, b):', max_tokens: 4, temperature: 0, stream: true }))
    text += c.choices[0]?.text ?? '';
  assert.ok(r.choices[0].text.endsWith(text));
});

await check('embeddings', async () => {
  const r = await client.embeddings.create({ model, input: ['one', 'two'] }); // asks for base64 and decodes it
  const plain = await client.embeddings.create({ model, input: ['one', 'two'], encoding_format: 'float' });
  assert.equal(r.data.length, 2);
  assert.ok(Math.abs(r.data[1].embedding[0] - plain.data[1].embedding[0]) < 1e-6);
  assert.ok(Math.abs(r.data[0].embedding.reduce((s, v) => s + v * v, 0) - 1) < 1e-3);
});

await check('errors', async () => {
  const e = await refused(400, client.chat.completions.create({ model, messages: [{ role: 'user', content: 'word '.repeat(5000) }] }));
  assert.equal(e.code, 'context_length_exceeded');
  const f = await refused(400, client.chat.completions.create({ model, messages: 'no' }));
  assert.equal(f.param, 'messages');
});

await check('a client that goes', async () => {
  const stream = await client.completions.create({ model, prompt: 'x', max_tokens: 1900, temperature: 1, stream: true, ignore_eos: true });
  for await (const c of stream) {
    if (c.choices.length) break;
  }
  stream.controller.abort();
  for (let i = 0; ; i++) {
    const { data } = await (await fetch(`${url}/v1/requests`)).json();
    if (!data.length) break;
    assert.ok(i < 50, 'it still runs');
    await new Promise((r) => setTimeout(r, 100));
  }
});

await finish('openai');
