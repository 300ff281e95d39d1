/**
 * Another process with the hub's database open, as an operator's shell or a stray script would have it. `outsider.js FILE reader|writer`
 * takes a snapshot or the write lock, says `held`, and lets go when its input ends.
 */
import Database from 'better-sqlite3';

const [file, what] = process.argv.slice(2);
const db = new Database(file, { readonly: what === 'reader', timeout: 5_000 });
db.exec(what === 'reader' ? 'begin' : 'begin immediate');
if (what === 'reader') db.prepare('select count(*) from entries').get();
process.stdout.write('held\n');
process.stdin.resume().on('end', () => {
  db.exec('rollback');
  db.close();
});
