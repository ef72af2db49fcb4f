// What the client tests share: named checks that are counted, and a planted one that must fail.
import assert from 'node:assert/strict';

export const url = process.env.QUERN_URL;
let done = 0;
let failed = 0;

export async function check(name, run) {
  try {
    await run();
    done++;
  } catch (e) {
    failed++;
    console.log(`${name}: ${e.stack ?? e}`);
  }
}

export async function finish(what) {
  const before = failed;
  const log = console.log;
  console.log = () => {};
  await check('planted', () => assert.equal(1, 2));
  console.log = log;
  if (failed !== before + 1) {
    console.log('the planted fault was not found');
    process.exit(1);
  }
  console.log(`figure: ${what}: ${done} checks`);
  process.exit(before ? 1 : 0);
}

// The request must be refused with this status; returns the error.
export async function refused(status, promise) {
  try {
    await promise;
  } catch (e) {
    assert.equal(e.status ?? e.status_code, status, String(e));
    return e;
  }
  assert.fail(`not refused with ${status}`);
}
