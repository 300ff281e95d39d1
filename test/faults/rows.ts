/** Finds the rows: every file of this folder whose name begins with the number of a test. */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { FaultRow } from './row.ts';

export async function loadRows(): Promise<FaultRow[]> {
  const names = readdirSync(import.meta.dirname).filter((name) => /^\d\d-.*\.ts$/.test(name));
  const rows = await Promise.all(
    names.toSorted().map(async (name) => {
      const { row } = (await import(/* @vite-ignore */ pathToFileURL(join(import.meta.dirname, name)).href)) as { row?: FaultRow };
      if (row === undefined) throw new Error(`test/faults/${name} exports no row`);
      if (row.test !== Number(name.slice(0, 2))) throw new Error(`test/faults/${name} is of test ${row.test}`);
      return row;
    }),
  );
  return rows;
}
