/**
 * Where in the order of commit a room's entries lie (schema.sql: parts). The order is cut into parts of as many ids, each with
 * an index of its own, so that a commit to many rooms writes the few pages of the last part's index, and not a page of
 * each room. Whoever wants the entries of a room by their seq finds them through its parts, with the SQL that is here.
 */

/** 16,384 ids, as in schema.sql: of fewer a room would have more parts, of more the last one's index more pages. */
const bits = 14;

export function partOf(id: number): number {
  return Math.floor(id / 2 ** bits);
}

/** Of entries `e`: those of the room and part of `p`. */
const inPart = `e.id >> ${bits} = +p.part and e.room = p.room`;

/** What stands after `from`: every entry `e` of a room, in order by `p.room, p.first, e.seq`. */
export const entriesByPart = `parts p cross join entries e on ${inPart}`;

/** The same and its `where`: the entries of @room with @from ≤ seq ≤ @to, in order by `p.first, e.seq`. */
export const entriesBetween = `${entriesByPart} where p.room = @room and p.first <= @to
  and p.first >= coalesce((select max(first) from parts where room = @room and first <= @from), 0) and e.seq between @from and @to`;
export type Between = { room: number; from: number; to: number };

/** Of a room's last entry; −1: it has none. */
export const lastPartOf = (room: string): string => `coalesce((select part from parts where room = ${room} order by first desc limit 1), -1)`;

/** Where the parts say that an entry lies. */
export const partAt = (room: string, seq: string): string => `(select part from parts where room = ${room} and first <= ${seq} order by first desc limit 1)`;

/** The parts of all entries there are: for a database that has none yet, and to check them. */
export const partsOfEntries = `select room, min(seq) as first, id >> ${bits} as part, max(seq) as last from entries group by id >> ${bits}, room`;

/** Parts that hold nothing of their room. */
export const emptyParts = `select p.room, p.first from parts p where not exists (select 1 from entries e where ${inPart})`;
