/** How long the write-ahead log is: told where another process keeps it from being shortened, and when that is over. */
import Database from 'better-sqlite3';
import { expect, it, onTestFinished } from 'vitest';
import { databaseFile, openForWriting } from '../src/persistence/sqlite-open.ts';
import { WalSize } from '../src/persistence/wal-size.ts';
import { freshFolder, silent } from './sqlite-setup.ts';

const MiB = 2 ** 20;

it('one that grows beyond its bound is told once, and once that it is short again', async () => {
  const lines: string[] = [];
  let size = 0;
  const wal = new WalSize({ folder: '/data', log: (level) => void lines.push(level), bytes: async () => size });
  onTestFinished(() => wal.close());
  for (const [mib, told] of [
    [64, []],
    [65, ['warn']],
    [900, ['warn']],
    [64, ['warn', 'info']],
    [70, ['warn', 'info', 'warn']],
  ] as const) {
    size = mib * MiB;
    await wal.look();
    expect(lines).toEqual(told);
    expect(wal.stats()).toEqual({ walBytes: size, walHeld: mib > 64 ? 1 : 0 });
  }
});

it('where there is none it has no bytes', async () => {
  const wal = new WalSize({ folder: freshFolder(), log: silent });
  onTestFinished(() => wal.close());
  await wal.look();
  expect(wal.stats()).toEqual({ walBytes: 0, walHeld: 0 });
});

it('a reader that holds an old state makes the real one grow beyond it; once he has let go, it is short after what is written next', async () => {
  const folder = freshFolder();
  const db = openForWriting({ data: folder, durability: 'process' });
  onTestFinished(() => void db.close());
  const wal = new WalSize({ folder, log: silent });
  onTestFinished(() => wal.close());
  db.exec('create table filler (bytes blob)');
  const fill = (mib: number): void => {
    for (let i = 0; i < mib; i += 8) db.prepare('insert into filler values (zeroblob(?))').run(8 * MiB);
  };
  const reader = new Database(databaseFile(folder), { readonly: true });
  onTestFinished(() => void reader.close());
  reader.exec('begin');
  reader.prepare('select count(*) from filler').get();
  fill(80);
  await wal.look();
  expect(wal.stats().walHeld).toBe(1);
  reader.exec('rollback');
  fill(8);
  db.prepare('delete from filler where rowid = 1').run();
  await wal.look();
  expect(wal.stats().walHeld).toBe(0);
});
