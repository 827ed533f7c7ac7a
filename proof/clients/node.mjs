// Works on the server with ioredis or node-redis, as their users do.
// Usage: node.mjs ioredis|redis PORT, in a directory that has the packages

import assert from "node:assert/strict";
import { createRequire } from "node:module";

const [, , library, port] = process.argv;
const require = createRequire(process.cwd() + "/");

async function ioredis() {
  const Redis = require("ioredis");
  const db = new Redis(Number(port));
  await db.flushall();
  assert.equal(await db.set("x", "100"), "OK");
  assert.equal(await db.get("x"), "100");
  assert.equal(await db.set("x", "1", "NX"), null);
  assert.equal(await db.incr("n"), 1);
  assert.deepEqual(await db.mget("x", "none"), ["100", null]);
  assert.deepEqual(await db.multi().set("g", "1").incr("g").exec(), [[null, "OK"], [null, 2]]);
  const pipeline = db.pipeline();
  for (let n = 0; n < 1000; n++) pipeline.set(`p${n}`, n);
  assert.equal((await pipeline.exec()).length, 1000);
  const found = new Set();
  for await (const keys of db.scanStream({ match: "p*", count: 50 })) keys.forEach((key) => found.add(key));
  assert.equal(found.size, 1000);
  assert.deepEqual(await Promise.all([...Array(500).keys()].map((n) => db.get(`p${n}`))), [...Array(500).keys()].map(String));
  await assert.rejects(db.set("x", "1", "EX", 10), /do not expire/);
  await assert.rejects(db.lpush("list", "1"), /unknown command/);
  assert.deepEqual(await db.getBuffer("x"), Buffer.from("100"));
  await db.flushall();
  await db.quit();
}

async function node_redis() {
  const { createClient } = require("redis");
  for (const RESP of [2, 3]) {
    const db = createClient({ url: `redis://127.0.0.1:${port}`, RESP });
    await db.connect();
    await db.flushAll();
    assert.equal(await db.set("x", "100"), "OK");
    assert.equal(await db.get("x"), "100");
    assert.equal(await db.set("x", "1", { condition: "NX" }), null);
    assert.equal(await db.incr("n"), 1);
    assert.deepEqual(await db.mGet(["x", "none"]), ["100", null]);
    assert.deepEqual(await db.multi().set("g", "1").incr("g").exec(), ["OK", 2]);
    await Promise.all([...Array(1000).keys()].map((n) => db.set(`p${n}`, String(n))));
    const found = new Set();
    for await (const keys of db.scanIterator({ MATCH: "p*", COUNT: 50 })) [keys].flat().forEach((key) => found.add(key));
    assert.equal(found.size, 1000);
    await assert.rejects(db.lPush("list", "1"), /unknown command/);
    assert.equal(await db.del(["x", "none"]), 1);
    await db.flushAll();
    await db.close();
  }
}

await (library === "ioredis" ? ioredis() : node_redis());
console.log(`${library}: done`);
