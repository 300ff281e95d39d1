/** Every start that cannot be: refused by one sentence that names what is wrong, and an exit code that tells settings (2) from the rest (1). */
import { spawn } from 'node:child_process';
import { chmodSync, chownSync, mkdirSync, openSync, readFileSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { beforeAll, describe, expect, it } from 'vitest';
import { startHub, temporaryFolder } from '../kit/hub.ts';
import { hubEntry } from '../kit/paths.ts';

/** Root may read everything, so what is forbidden is tried as somebody else. */
const nobody = 65_534;
const isRoot = process.getuid?.() === 0;
const secret = 'k1:0123456789abcdef0123456789abcdef';

type Bad = { words: readonly string[]; says: RegExp; code: number; unprivileged?: true };

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
function left(database: Buffer, change: (folder: string, file: string) => void): string {
  const folder = temporaryFolder();
  const file = join(folder, 'hubbub.db');
  writeFileSync(file, database);
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

describe('a start that cannot be', () => {
  const bad: Record<string, Bad> = {};

  beforeAll(async () => {
    const hub = await startHub();
    const database = readFileSync(join(await finished(), 'hubbub.db'));
    const dev = (data: string): readonly string[] => ['--dev', '--data', data];
    const file = join(temporaryFolder(), 'file');
    writeFileSync(file, 'x');
    Object.assign(bad, {
      'a data folder that is a file': { words: dev(file), says: /data folder .*file cannot be used: it is not a folder/, code: 1 },
      'a data folder that cannot be made': { words: dev('/proc/nowhere'), says: /data folder \/proc\/nowhere cannot be used: it does not exist/, code: 1 },
      'a data folder that everybody may write to': { words: dev(left(database, (folder) => chmodSync(folder, 0o777))), says: /chmod o-w/, code: 2 },
      'a data folder that is read-only': {
        words: dev(left(database, (folder) => chmodSync(folder, 0o555))),
        says: /data folder .* cannot be used: permission denied/,
        code: 1,
        unprivileged: true,
      },
      'a database that may not be read': {
        words: dev(left(database, (_, at) => chmodSync(at, 0o000))),
        says: /hubbub\.db cannot be opened: .*may not be opened/,
        code: 1,
        unprivileged: true,
      },
      'a database that is none': {
        words: dev(left(database, (_, at) => writeFileSync(at, 'x'.repeat(10_000)))),
        says: /hubbub\.db cannot be opened: it is not a database/,
        code: 1,
      },
      'a database that is damaged': {
        words: dev(left(database, (_, at) => damage(at))),
        says: /hubbub\.db cannot be opened: it is damaged; restore a backup/,
        code: 1,
      },
      'a database of a newer hub': {
        words: dev(left(database, (_, at) => alter(at, 'user_version = 99'))),
        says: /written by a newer Hubbub \(version 99/,
        code: 1,
      },
      'a database of something else': { words: dev(left(database, (_, at) => alter(at, 'application_id = 1'))), says: /not one of Hubbub's/, code: 1 },
      'a database that is a folder': { words: dev(folderInstead()), says: /hubbub\.db cannot be opened/, code: 1 },
      'a second hub on the same data': { words: dev(hub.data), says: /another hub|in use|already/i, code: 1 },
      'a port in use': { words: [...dev(temporaryFolder()), '--port', String(hub.port)], says: new RegExp(`port ${hub.port} is in use`), code: 1 },
      'a file of secrets that is not there': {
        words: ['--jwt-secrets', '@/nowhere/secrets'],
        says: /cannot read the file \/nowhere\/secrets: it does not exist/,
        code: 2,
      },
      'a public key that is not there': {
        words: ['--origins', 'https://a', '--jwt-public-key', '/nowhere/key.pem', '--data', temporaryFolder()],
        says: /jwtPublicKey: cannot read \/nowhere\/key\.pem/,
        code: 2,
      },
      'a secret that is too short': {
        words: ['--origins', 'https://a', '--jwt-secrets', `@${secretsFile('short')}`, '--data', temporaryFolder()],
        says: /at least 32 bytes/,
        code: 2,
      },
      'an origin for everybody': { words: ['--origins', '*', '--jwt-secrets', `@${secretsFile(secret)}`], says: /every page of the web/, code: 2 },
      'an option that there is not': { words: ['--prot', '1'], says: /no flag --prot; did you mean --port/, code: 2 },
    } satisfies Record<string, Bad>);
  });

  it('is refused by one sentence each, for every way that one can be bad', async () => {
    const outcomes = await Promise.all(Object.entries(bad).map(async ([what, one]) => ({ what, one, ...(await start(one)) })));
    for (const { what, one, code, lines } of outcomes) {
      expect([what, lines]).toEqual([what, [expect.stringMatching(/^hubbub: /)]]);
      expect([what, lines[0]]).toEqual([what, expect.stringMatching(one.says)]);
      expect([what, code]).toEqual([what, one.code]);
      expect(lines[0]).not.toContain(secret.slice(3));
    }
    expect(outcomes.length).toBeGreaterThanOrEqual(10);
    process.stdout.write(`${outcomes.length} of ${Object.keys(bad).length} bad starts explained\n`);
  });
});

async function finished(): Promise<string> {
  const hub = await startHub({ data: temporaryFolder() });
  await hub.stop();
  return hub.data;
}

function folderInstead(): string {
  const folder = temporaryFolder();
  mkdirSync(join(folder, 'hubbub.db'));
  return folder;
}

function secretsFile(text: string): string {
  const path = join(temporaryFolder(), 'secrets');
  writeFileSync(path, text, { mode: 0o600 });
  return path;
}
