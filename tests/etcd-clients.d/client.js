// The npm package etcd3 against three members. Prints "ok ..." or "not ok ..." for each check. Usage: client.js HOST:PORT ...
const assert = require('assert');
const { Etcd3, EtcdLockFailedError } = require('etcd3');

const hosts = process.argv.slice(2);
const connect = () => new Etcd3({ hosts });
const sleep = ms => new Promise(resolve => setTimeout(resolve, ms));

const checks = {
  async 'put, get, delete'(client) {
    await client.put('/js/a').value('1');
    assert.strictEqual(await client.get('/js/a').string(), '1');
    assert.strictEqual((await client.delete().key('/js/a')).deleted, '1');
    assert.strictEqual(await client.get('/js/a').string(), null);
  },
  async 'ranges'(client) {
    const space = client.namespace('/js/range/');
    for (let i = 0; i < 20; i++) await space.put(String(i).padStart(2, '0')).value(i);
    assert.strictEqual(await space.getAll().count(), 20);
    assert.deepStrictEqual(await space.getAll().sort('Key', 'Descend').limit(2).keys(), ['19', '18']);
    await space.delete().all();
    assert.strictEqual(await space.getAll().count(), 0);
  },
  async 'transactions'(client) {
    await client.put('/js/txn').value('old');
    const good = await client.if('/js/txn', 'Value', '==', 'old').then(client.put('/js/txn').value('new')).else(client.get('/js/txn')).commit();
    assert(good.succeeded);
    const bad = await client.if('/js/txn', 'Value', '==', 'old').then(client.put('/js/txn').value('never')).else(client.get('/js/txn')).commit();
    assert(!bad.succeeded && bad.responses[0].response_range.kvs[0].value.toString() === 'new');
  },
  async 'software transactions'(client) {
    await client.put('/js/counter').value(0);
    await Promise.all(Array.from({ length: 10 }, () => client.stm({ retries: 50 }).transact(async tx => {
      await tx.put('/js/counter').value((await tx.get('/js/counter').number()) + 1);
    })));
    assert.strictEqual(await client.get('/js/counter').number(), 10);
  },
  async 'watch'(client) {
    const watcher = await client.watch().prefix('/js/watch/').create();
    const seen = [];
    const all = new Promise(resolve => watcher.on('put', kv => seen.push(kv.value.toString()) === 20 && resolve()));
    for (let i = 0; i < 20; i++) await client.put(`/js/watch/${i}`).value(i);
    await all;
    await watcher.cancel();
    assert.deepStrictEqual(seen, Array.from({ length: 20 }, (_, i) => String(i)));
  },
  async 'leases'(client) {
    const lease = client.lease(2, { autoKeepAlive: false });
    await lease.put('/js/lease').value('v');
    assert.strictEqual(await client.get('/js/lease').string(), 'v');
    for (let i = 0; (await client.get('/js/lease').string()) !== null; i++) {
      assert(i < 100, 'the key outlived its lease');
      await sleep(200);
    }
  },
  async 'locks'(client) {
    const lock = await client.lock('/js/lock').ttl(20).acquire();
    await assert.rejects(client.lock('/js/lock').acquire(), EtcdLockFailedError);
    await lock.release();
    await (await client.lock('/js/lock').acquire()).release();
  },
  async 'elections'(client) {
    const election = client.election('/js/election', 10);
    const campaign = election.campaign('first');
    await new Promise((resolve, reject) => campaign.on('elected', resolve).on('error', reject));
    assert.strictEqual(await election.leader(), 'first');
    await campaign.resign();
  },
  async 'roles and users'(client) {
    const role = client.role('js-role');
    await role.create();
    await role.grant({ permission: 'Readwrite', range: client.range({ prefix: '/js/' }) });
    assert.strictEqual((await role.permissions())[0].permission, 'Readwrite');
    const user = client.user('js-user');
    await user.create('secret');
    await user.addRole(role);
    assert((await user.roles()).some(r => r.name === 'js-role'));
    await user.delete();
    await role.delete();
  },
  async 'maintenance'(client) {
    assert((await client.maintenance.status()).version);
    assert((await client.cluster.memberList({})).members.length >= 1);
  },
};

(async () => {
  let failed = false;
  for (const [name, check] of Object.entries(checks)) {
    const client = connect();
    try {
      await Promise.race([check(client), sleep(60000).then(() => { throw new Error('it took more than 60 s'); })]);
      console.log(`ok npm etcd3: ${name}`);
    } catch (e) {
      failed = true;
      console.log(`not ok npm etcd3: ${name}: ${String(e.stack).replace(/\n/g, ' | ')}`);
    }
    client.close();
  }
  process.exit(failed ? 1 : 0);
})();
