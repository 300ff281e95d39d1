/**
 * What an operator does to the data folder without a hub: copy it, take it back, check it. For the command line, which knows no
 * part, and needs none of a hub for this. Each call opens the database and closes it again.
 */
export { backup } from './persistence/sqlite-backup.ts';
export { check } from './persistence/sqlite-check.ts';
export { StoreError } from './persistence/sqlite-open.ts';
export { bumpEpoch, restore } from './persistence/sqlite-restore.ts';
