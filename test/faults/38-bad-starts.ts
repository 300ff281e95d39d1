/**
 * Every start that cannot be: refused by one sentence that names what is wrong, and an exit code that tells settings (2) from the
 * rest (1). And what the hub is made of: by the lockfile and the floors of test/kit/advisory-floors.ts, and at full size by the registry's
 * advisories too, where it tells them.
 */
import { spawn, spawnSync } from 'node:child_process';
import { chmodSync, chownSync, mkdirSync, openSync, readFileSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import type { HubProcess } from '../../src/testing/hub-process.ts';
import { floors, lockedPackages, shortfalls, versionsOf } from '../kit/advisory-floors.ts';
import { hubEntry, root } from '../kit/paths.ts';
import { type FaultKit, type FaultRow, violationsOf } from './row.ts';

type Size = { audits: number };
/** Root may read everything, so what is forbidden is tried as somebody else. */
const nobody = 65_534;
const isRoot = process.getuid?.() === 0;
const secret = 'k1:0123456789abcdef0123456789abcdef';
const auditMsMax = 60_000;

type Bad = { words: readonly string[]; says: RegExp; code: number; unprivileged?: true };

export const row: FaultRow<Size> = {
  test: 38,
  title: 'every start that cannot be is refused by one sentence, and nothing the hub runs on is older than its floor',
  target: '≥ 10 bad starts, all explained; nothing below its floor or not fixed by the lockfile; 0 high advisories',
  gate: { audits: 0 },
  full: { audits: 1 },

  async run({ audits }, kit) {
    const hub = await kit.hub();
    const bad = badStarts(kit, hub, readFileSync(join(await finished(kit), 'hubbub.db')));
    const outcomes = await Promise.all(Object.entries(bad).map(async ([what, one]) => ({ what, ...(await start(one)), one })));
    const faults = outcomes.flatMap(({ what, one, code, lines }) => {
      const [line = ''] = lines;
      if (lines.length !== 1 || !line.startsWith('hubbub: ')) return [`${what}: ${lines.length} lines: ${lines.join(' / ')}`];
      if (!one.says.test(line)) return [`${what}: ${line}`];
      if (line.includes(secret.slice(3))) return [`${what}: a secret was told`];
      return code === one.code ? [] : [`${what}: exit code ${code}`];
    });
    const locked = lockedPackages();
    const short = shortfalls(locked);
    const advisories = audits === 0 ? 'not asked at this size' : audit();
    if (audits > 0 && typeof advisories === 'string') kit.say(advisories);
    return {
      figures: {
        badStarts: outcomes.length,
        explained: outcomes.length - faults.length,
        lockedPackages: Object.keys(locked).length,
        ...Object.fromEntries(Object.keys(floors).map((name) => [name, [...new Set(versionsOf(name, locked))].join(' and ')])),
        belowFloorOrNotFixed: short.length,
        advisoriesOfHighSeverity: advisories,
      },
      violations: [
        ...faults,
        ...short,
        ...violationsOf({
          'ten starts are tried': outcomes.length >= 10,
          'no advisory is of high severity': typeof advisories === 'string' || advisories === 0,
        }),
      ],
    };
  },
};

function badStarts(kit: FaultKit, hub: HubProcess, database: Buffer): Record<string, Bad> {
  const dev = (data: string): readonly string[] => ['--dev', '--data', data];
  const file = join(kit.folder(), 'file');
  writeFileSync(file, 'x');
  return {
    'a data folder that is a file': { words: dev(file), says: /data folder .*file cannot be used: it is not a folder/, code: 1 },
    'a data folder that cannot be made': { words: dev('/proc/nowhere'), says: /data folder \/proc\/nowhere cannot be used: it does not exist/, code: 1 },
    'a data folder that everybody may write to': { words: dev(left(kit, database, (folder) => chmodSync(folder, 0o777))), says: /chmod o-w/, code: 2 },
    'a data folder that is read-only': {
      words: dev(left(kit, database, (folder) => chmodSync(folder, 0o555))),
      says: /data folder .* cannot be used: permission denied/,
      code: 1,
      unprivileged: true,
    },
    'a database that may not be read': {
      words: dev(left(kit, database, (_, at) => chmodSync(at, 0o000))),
      says: /hubbub\.db cannot be opened: .*may not be opened/,
      code: 1,
      unprivileged: true,
    },
    'a database that is none': {
      words: dev(left(kit, database, (_, at) => writeFileSync(at, 'x'.repeat(10_000)))),
      says: /hubbub\.db cannot be opened: it is not a database/,
      code: 1,
    },
    'a database that is damaged': {
      words: dev(left(kit, database, (_, at) => damage(at))),
      says: /hubbub\.db cannot be opened: it is damaged; restore a backup/,
      code: 1,
    },
    'a database of a newer hub': {
      words: dev(left(kit, database, (_, at) => alter(at, 'user_version = 99'))),
      says: /written by a newer Hubbub \(version 99/,
      code: 1,
    },
    'a database of something else': { words: dev(left(kit, database, (_, at) => alter(at, 'application_id = 1'))), says: /not one of Hubbub's/, code: 1 },
    'a database that is a folder': { words: dev(folderInstead(kit)), says: /hubbub\.db cannot be opened/, code: 1 },
    'a second hub on the same data': { words: dev(hub.data), says: /another hub|in use|already/i, code: 1 },
    'a port in use': { words: [...dev(kit.folder()), '--port', String(hub.port)], says: new RegExp(`port ${hub.port} is in use`), code: 1 },
    'a file of secrets that is not there': {
      words: ['--jwt-secrets', '@/nowhere/secrets'],
      says: /cannot read the file \/nowhere\/secrets: it does not exist/,
      code: 2,
    },
    'a public key that is not there': {
      words: ['--origins', 'https://a', '--jwt-public-key', '/nowhere/key.pem', '--data', kit.folder()],
      says: /jwtPublicKey: cannot read \/nowhere\/key\.pem/,
      code: 2,
    },
    'a secret that is too short': {
      words: ['--origins', 'https://a', '--jwt-secrets', `@${secretsFile(kit, 'short')}`, '--data', kit.folder()],
      says: /at least 32 bytes/,
      code: 2,
    },
    'an origin for everybody': { words: ['--origins', '*', '--jwt-secrets', `@${secretsFile(kit, secret)}`], says: /every page of the web/, code: 2 },
    'an option that there is not': { words: ['--prot', '1'], says: /no flag --prot; did you mean --port/, code: 2 },
  };
}

/** How many advisories of high or critical severity concern what the hub runs on, or why that is not known. */
function audit(): number | string {
  const { stdout } = spawnSync('npm', ['audit', '--omit=dev', '--json'], { cwd: root, encoding: 'utf8', timeout: auditMsMax });
  try {
    const { metadata } = JSON.parse(stdout) as { metadata: { vulnerabilities: { high: number; critical: number } } };
    return metadata.vulnerabilities.high + metadata.vulnerabilities.critical;
  } catch {
    return 'no registry answers npm audit here: judged by the lockfile and the floors';
  }
}

async function start({ words, unprivileged }: Bad): Promise<{ code: number | null; lines: string[] }> {
  const who = unprivileged && isRoot ? { uid: nobody, gid: nobody } : {};
  const child = spawn(process.execPath, [hubEntry, 'serve', '--port', '0', ...words], { stdio: ['ignore', 'pipe', 'pipe'], ...who });
  let text = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (more: string) => {
      text += more;
    });
  }
  const code = await new Promise<number | null>((resolve) => child.once('close', resolve));
  return { code, lines: text.split('\n').filter((line) => line.trim() !== '') };
}

/** A folder with a database that a hub left, for `change` to spoil. */
function left(kit: FaultKit, database: Buffer, change: (folder: string, file: string) => void): string {
  const folder = kit.folder();
  const file = join(folder, 'hubbub.db');
  writeFileSync(file, database, { mode: 0o600 }); // as the hub makes it
  if (isRoot) for (const path of [folder, file]) chownSync(path, nobody, nobody);
  change(folder, file);
  return folder;
}

function damage(file: string): void {
  const descriptor = openSync(file, 'r+');
  // All but the first page, whose header says that it is a database of ours.
  writeSync(descriptor, Buffer.alloc(readFileSync(file).length - 4_096, 0xa5), 0, null, 4_096);
}

function alter(file: string, pragma: string): void {
  const db = new Database(file);
  db.pragma(pragma);
  db.close();
}

/** The data folder of a hub that was there and has stopped. */
async function finished(kit: FaultKit): Promise<string> {
  const hub = await kit.hub({ data: kit.folder() });
  await hub.stop();
  return hub.data;
}

function folderInstead(kit: FaultKit): string {
  const folder = kit.folder();
  mkdirSync(join(folder, 'hubbub.db'));
  return folder;
}

function secretsFile(kit: FaultKit, text: string): string {
  const path = join(kit.folder(), 'secrets');
  writeFileSync(path, text, { mode: 0o600 });
  return path;
}
