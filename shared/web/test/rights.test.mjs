import assert from 'node:assert/strict';
import test from 'node:test';
import { MINUTE, OFFICE, VIEW, frameOf, opened } from './world.mjs';

test('changed rights at another address: saves, mounts anew, says so', async () => {
  const { world, session, functions, page } = await opened();
  let detail;
  session.addEventListener('changed', event => {
    detail = event.detail;
  });
  frameOf(session).text = 'written while allowed';
  functions.permission = () => VIEW;
  functions.url = () => OFFICE + '/office/w/2';
  await world.run(26 * MINUTE);
  assert.equal(world.storage.text, 'written while allowed');
  assert.equal(page.configs.length, 2);
  assert.equal(page.configs[1].url, OFFICE + '/office/w/2');
  assert.deepEqual(detail, VIEW);
  assert.deepEqual(session.permission, VIEW);
  assert.equal(session.state, 'open');
});

test('the same address: only the token is set', async () => {
  const { world, session, page } = await opened();
  await world.run(26 * MINUTE);
  assert.equal(page.configs.length, 1);
  assert.ok(!page.events.includes('changed'));
  assert.equal(session.state, 'open');
});
