/**
 * Two projects: `unit` runs without a process of its own and in full parallel; `hub` starts real hubs, so it runs after the
 * first and two files at a time: more would measure the machine, not the hub. Results also go to a file that `.ci/run` counts.
 */
import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    pool: 'forks',
    reporters: ['default', ['json', { outputFile: 'node_modules/.vitest/results.json' }]],
    projects: [
      {
        extends: true,
        test: { name: 'unit', include: ['test/*.test.ts'], testTimeout: 20_000, sequence: { groupOrder: 0 } },
      },
      {
        extends: true,
        test: {
          name: 'hub',
          include: ['test/hub/*.test.ts'],
          globalSetup: ['test/kit/build.ts'],
          setupFiles: ['test/kit/setup.ts'],
          maxWorkers: 2,
          testTimeout: 60_000,
          hookTimeout: 30_000,
          sequence: { groupOrder: 1 },
        },
      },
    ],
  },
});
