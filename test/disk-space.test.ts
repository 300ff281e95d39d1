/** How much of its disk is left to the data folder: looked at beside the commits, told once. */
import { expect, it, onTestFinished } from 'vitest';
import { DiskSpace } from '../src/persistence/disk-space.ts';
import { freshFolder, silent } from './sqlite-setup.ts';

/** Looks at a disk that the test fills, warned of below 1,000 bytes. */
function watched() {
  const lines: string[] = [];
  const disk = { free: 5_000 as number | Error };
  const space = new DiskSpace({
    folder: '/data',
    warnBytes: 1_000,
    log: (level) => void lines.push(level),
    free: async () => {
      if (disk.free instanceof Error) throw disk.free;
      return disk.free;
    },
  });
  onTestFinished(() => space.close());
  const look = async (free: number | Error): Promise<string[]> => {
    disk.free = free;
    await space.look();
    return lines;
  };
  return { space, look };
}

it('space that gets short is told once, and once that there is enough again', async () => {
  const { space, look } = watched();
  expect(await look(1_000)).toEqual([]);
  expect(await look(999)).toEqual(['warn']);
  // At the edge nothing is said, up or down.
  for (const free of [500, 1_000, 1_099, 0, 1_050]) expect(await look(free)).toEqual(['warn']);
  expect(space.stats()).toEqual({ diskFreeBytes: 1_050 });
  expect(await look(1_100)).toEqual(['warn', 'info']);
  expect(await look(10)).toEqual(['warn', 'info', 'warn']);
});

it('a disk that cannot be asked has no figure, and disturbs nobody', async () => {
  const { space, look } = watched();
  expect(await look(new Error('stale file handle'))).toEqual([]);
  expect(space.stats()).toEqual({});
  expect(await look(5)).toEqual(['warn']);
});

it('a real folder has a real figure', async () => {
  const space = new DiskSpace({ folder: freshFolder(), warnBytes: 0, log: silent });
  onTestFinished(() => space.close());
  await space.look();
  expect(space.stats().diskFreeBytes).toBeGreaterThan(0);
});
