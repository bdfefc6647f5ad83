// BullMQ on Node: the same commands, figures and slot as the peers in Python (see _harness.py).
import { closeSync, existsSync, openSync, readFileSync, readSync, writeSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { createRequire } from 'node:module';
import { parseArgs } from 'node:util';
import { setTimeout as sleep } from 'node:timers/promises';

const PAYLOAD = 'x'.repeat(200);
const QUEUE = 'bench';
const WORK = 'work';
const CHUNK = 300; // the quickest of 100, 300 and 1000
const SLEEP_MS = 50;
const TIMEOUT_MS = 15_000;
const WORDS = 64;
const SLOT_BYTES = WORDS * 8;
const [FINISHED, FIRST_BEGAN, LAST_ENDED, CPU_AT_FIRST, CPU_AT_LAST, READY] = [0, 1, 2, 3, 4, 5];
const [RING, RING_WORDS] = [8, 48];
const WRITE_EVERY_MS = 20;

const { values: options, positionals: [command] } = parseArgs({
  allowPositionals: true,
  options: {
    project: { type: 'string', default: '.' }, // the folder whose node_modules holds BullMQ
    url: { type: 'string', default: 'redis://127.0.0.1:6379/0' },
    jobs: { type: 'string' },
    bulk: { type: 'boolean', default: false },
    concurrency: { type: 'string' },
    shared: { type: 'string' },
    slot: { type: 'string', default: '0' },
    function: { type: 'string', default: 'noop' },
    samples: { type: 'string' },
  },
});
const require = createRequire(pathToFileURL(resolve(options.project, 'package.json')));
const { Queue, QueueEvents, Worker } = require('bullmq');

const now = () => process.hrtime.bigint();
const cpuNs = () => {
  const { user, system } = process.cpuUsage();
  return BigInt(user + system) * 1000n;
};

/** The figures of one worker; Node maps no files, so they are written from a timer. */
class Slot {
  constructor(path, index) {
    this.offset = index * SLOT_BYTES;
    this.words = new BigInt64Array(WORDS);
    this.bytes = new Uint8Array(this.words.buffer);
    this.file = openSync(path, existsSync(path) ? 'r+' : 'w+');
    this.finished = 0;
  }
  write() {
    this.words[FINISHED] = BigInt(this.finished);
    writeSync(this.file, this.bytes, 0, SLOT_BYTES, this.offset);
  }
  read() {
    readSync(this.file, this.bytes, 0, SLOT_BYTES, this.offset);
    return this.words;
  }
  ready() {
    this.words[READY] = 1n;
    this.write();
    this.timer = setInterval(() => this.write(), WRITE_EVERY_MS);
  }
  begin() {
    if (this.finished === 0 && this.words[FIRST_BEGAN] === 0n) {
      this.words[CPU_AT_FIRST] = cpuNs();
      this.words[FIRST_BEGAN] = now();
    }
  }
  end() {
    this.words[LAST_ENDED] = now();
    this.finished += 1;
    if (this.finished % 100 === 0) this.words[CPU_AT_LAST] = cpuNs();
  }
  stamp(payload) {
    this.words[RING + (this.finished % RING_WORDS)] = now() - BigInt(payload.trim());
  }
}

const bodies = {
  noop: (slot) => async () => { slot.begin(); slot.end(); },
  sleep: (slot) => async () => { slot.begin(); await sleep(SLEEP_MS); slot.end(); },
  stamp: (slot) => async (job) => {
    slot.stamp(job.data.payload);
    slot.begin();
    slot.end();
    slot.write(); // the producer waits for it
  },
};

function connection(url) {
  const { hostname, port, pathname, username, password } = new URL(url);
  return {
    host: hostname,
    port: Number(port || 6379),
    db: Number(pathname.slice(1) || 0),
    ...(username && { username: decodeURIComponent(username) }),
    ...(password && { password: decodeURIComponent(password) }),
    maxRetriesPerRequest: null,
  };
}

async function work(options) {
  const slot = new Slot(options.shared, Number(options.slot));
  const worker = new Worker(QUEUE, bodies[options.function](slot), {
    connection: connection(options.url),
    concurrency: Number(options.concurrency ?? 100),
    autorun: false,
  });
  worker.on('error', (error) => console.error(error));
  await worker.waitUntilReady();
  slot.ready();
  process.once('SIGTERM', async () => {
    await worker.close();
    clearInterval(slot.timer);
    slot.write();
    closeSync(slot.file);
    console.log(JSON.stringify({ finished: slot.finished }));
    process.exit(0);
  });
  await worker.run();
}

async function enqueue(options, queue) {
  const size = options.bulk ? CHUNK : 1;
  const data = { payload: PAYLOAD };
  let left = Number(options.jobs);
  const call = async () => {
    while (left > 0) {
      const count = Math.min(size, left);
      left -= count;
      if (options.bulk) await queue.addBulk(Array.from({ length: count }, () => ({ name: WORK, data })));
      else await queue.add(WORK, data);
    }
  };
  const [cpu, began] = [cpuNs(), now()];
  await Promise.all(Array.from({ length: Number(options.concurrency ?? 1) }, call));
  return {
    jobs: Number(options.jobs),
    seconds: Number(now() - began) / 1e9,
    cpu_seconds: Number(cpuNs() - cpu) / 1e9,
  };
}

const pause = () => sleep(5 + Math.random() * 10);

async function latency(options, queue) {
  const slot = new Slot(options.shared, Number(options.slot));
  const pickup_ms = [];
  for (let sample = 0; sample < Number(options.samples); sample += 1) {
    await pause();
    const before = slot.read()[FINISHED];
    const began = now();
    await queue.add(WORK, { payload: String(began).padEnd(200) });
    while (slot.read()[FINISHED] === before) {
      if (now() - began > BigInt(TIMEOUT_MS) * 1_000_000n) throw new Error('no worker took a job');
      await sleep(1);
    }
    pickup_ms.push(Number(slot.words[RING + Number(before % BigInt(RING_WORDS))]) / 1e6);
  }
  return { pickup_ms };
}

async function roundtrip(options, queue) {
  const events = new QueueEvents(QUEUE, { connection: connection(options.url) });
  await events.waitUntilReady();
  const roundtrip_ms = [];
  for (let sample = 0; sample < Number(options.samples); sample += 1) {
    await pause();
    const began = now();
    const job = await queue.add(WORK, { payload: PAYLOAD });
    await job.waitUntilFinished(events, TIMEOUT_MS);
    roundtrip_ms.push(Number(now() - began) / 1e6);
  }
  await events.close();
  return { roundtrip_ms };
}

function version(name) {
  let folder = dirname(require.resolve(name));
  while (!existsSync(join(folder, 'package.json')) || !manifest(folder).version) folder = dirname(folder);
  return manifest(folder).version;
}

const manifest = (folder) => JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'));

const about = () => ({
  name: 'BullMQ',
  version: `${version('bullmq')} (ioredis ${version('ioredis')}, Node ${process.versions.node})`,
  loop: 'node',
  settings:
    'concurrency=100, ioredis, maxRetriesPerRequest=null as it requires, completed jobs kept (its ' +
    'default); results awaited by QueueEvents; bulk: addBulk of 300',
  caveat: '',
});

async function produce(command, options) {
  const queue = new Queue(QUEUE, { connection: connection(options.url) });
  await queue.waitUntilReady();
  await queue.count(); // the connection is open and in use
  const answer = await { enqueue, latency, roundtrip }[command](options, queue);
  await queue.close();
  return answer;
}

if (command === 'worker') await work(options);
else console.log(JSON.stringify(command === 'about' ? about() : await produce(command, options)));
