/** Where and with what the figures were taken: machine, versions, disk. */
import { closeSync, fsyncSync, openSync, readFileSync, rmSync, statfsSync, writeSync } from 'node:fs';
import { availableParallelism, cpus, release, totalmem, type } from 'node:os';
import { join } from 'node:path';
import { root } from './contestants.js';
import { run } from './prepare.js';
import { dataFolder } from './server.js';

/** By the magic numbers of statfs(2). */
const fileSystems = new Map([
  [0xef53, 'ext4'],
  [0x58465342, 'xfs'],
  [0x9123683e, 'btrfs'],
  [0x01021994, 'tmpfs (memory: durable rows mean nothing here)'],
  [0x794c7630, 'overlayfs'],
]);
const fsyncs = 100;

/** @returns {Record<string, string>} */
export function describeMachine() {
  const { path, remove } = dataFolder();
  const disk = fileSystems.get(statfsSync(path).type) ?? 'unknown file system';
  const took = fsyncMs(path);
  remove();
  return {
    Processor: `${cpus()[0]?.model.trim()}, ${availableParallelism()} cores`,
    Memory: `${Math.round(totalmem() / 2 ** 30)} GiB`,
    System: `${type()} ${release()}`,
    Disk: `${disk}, an fsync after 4 KiB takes ${took.toFixed(2)} ms (median of ${fsyncs})`,
    Node: process.version,
    Hubbub: `${version('package.json')}, commit ${commit()}`,
    Peers: [
      `ws ${version('bench/node_modules/ws/package.json')}`,
      `Socket.IO ${version('bench/node_modules/socket.io/package.json')}`,
      `uWebSockets.js ${version('bench/node_modules/@trufflesuite/uws-js-unofficial/package.json')}`,
      `Bun ${version('bench/node_modules/bun/package.json')}`,
      `fastify ${version('node_modules/fastify/package.json')}`,
    ].join(', '),
  };
}

/** @param {string} file a package.json */
function version(file) {
  return String(JSON.parse(readFileSync(join(root, file), 'utf8')).version);
}

function commit() {
  try {
    const dirty = run('git', ['status', '--porcelain', '--', 'src', 'package.json'], root) === '' ? '' : ' with changes';
    return run('git', ['rev-parse', '--short', 'HEAD'], root) + dirty;
  } catch {
    return 'unknown';
  }
}

/** @param {string} folder */
function fsyncMs(folder) {
  const file = join(folder, 'probe');
  const descriptor = openSync(file, 'w');
  const block = Buffer.alloc(4_096);
  const times = Array.from({ length: fsyncs }, () => {
    const before = performance.now();
    writeSync(descriptor, block);
    fsyncSync(descriptor);
    return performance.now() - before;
  });
  closeSync(descriptor);
  rmSync(file);
  return times.toSorted((a, b) => a - b)[fsyncs / 2] ?? 0;
}
