/** Where the project and its build are, for tests in any folder. */
import { join } from 'node:path';

export const root = join(import.meta.dirname, '..', '..');
export const hubEntry = join(root, 'dist', 'cli', 'main.js');
