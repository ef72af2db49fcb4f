// The official Anthropic package against a running server: messages, streamed and not, tools, counting, errors.
import assert from 'node:assert/strict';
import Anthropic from '@anthropic-ai/sdk';
import { check, finish, refused, url } from './check.mjs';

const client = new Anthropic({ baseURL: url, apiKey: 'x', maxRetries: 0, timeout: 60000 });
const model = 'seedling';
const sum = [{ role: 'user', content: 'Write a Python function that returns the sum of a list.' }];
const tools = [{
  name: 'read_file',
  description: 'Read a file',
  input_schema: { type: 'object', properties: { path: { type: 'string', maxLength: 40 } }, required: ['path'], additionalProperties: false },
}];

await check('message', async () => {
  const r = await client.messages.create({ model, max_tokens: 60, temperature: 0, messages: sum });
  assert.equal(r.type, 'message');
  assert.match(r.content[0].text, /def sum_list/);
  assert.equal(r.stop_reason, 'end_turn');
  assert.ok(r.usage.input_tokens + r.usage.cache_read_input_tokens > 0 && r.usage.output_tokens > 0);
});

await check('message, streamed, is the same text', async () => {
  const whole = await client.messages.create({ model, max_tokens: 60, temperature: 0, messages: sum });
  const stream = client.messages.stream({ model, max_tokens: 60, temperature: 0, messages: sum });
  let text = '';
  stream.on('text', (t) => { text += t; });
  const final = await stream.finalMessage();
  assert.equal(text, whole.content[0].text);
  assert.equal(final.content[0].text, whole.content[0].text);
  assert.equal(final.stop_reason, 'end_turn');
});

await check('a call is valid, whole and streamed, and its result goes back', async () => {
  for (const streamed of [false, true]) {
    const ask = { model, max_tokens: 200, temperature: 1, tools, tool_choice: { type: 'any' }, messages: [{ role: 'user', content: 'Read a.txt' }] };
    const r = streamed ? await client.messages.stream(ask).finalMessage() : await client.messages.create(ask);
    const use = r.content.find((b) => b.type === 'tool_use');
    assert.equal(r.stop_reason, 'tool_use');
    assert.equal(use.name, 'read_file');
    assert.deepEqual(Object.keys(use.input), ['path']);
    const next = await client.messages.create({
      model, max_tokens: 5, temperature: 0, tools,
      messages: [...ask.messages, { role: 'assistant', content: r.content },
        { role: 'user', content: [{ type: 'tool_result', tool_use_id: use.id, content: 'hello' }] }],
    });
    assert.ok(next.usage.cache_read_input_tokens > 0);
  }
});

await check('tokens are counted', async () => {
  const r = await client.messages.countTokens({ model, messages: sum });
  assert.equal(r.input_tokens, 20);
});

await check('refusals', async () => {
  const long = [{ role: 'user', content: 'word '.repeat(4000) }];
  const e = await refused(400, client.messages.create({ model, max_tokens: 5, messages: long }));
  assert.match(e.message, /exceeds the available context size/);
  await refused(400, client.messages.create({ model, messages: sum }));
});

await finish('@anthropic-ai/sdk');
