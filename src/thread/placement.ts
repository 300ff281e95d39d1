/**
 * Which shard owns a name: rendezvous hashing (Thaler and Ravishankar, 1998), so that a change of the number of shards
 * moves only the names it must. Rooms and users share it.
 */

/** The shard of `name`, from 0 to `shards` − 1. */
export function placeOf(name: string, shards: number): number {
  if (shards === 1) return 0;
  let hash = 0x811c9dc5; // FNV-1a over code units
  for (let i = 0; i < name.length; i++) hash = Math.imul(hash ^ name.charCodeAt(i), 0x01000193);
  let best = 0;
  let bestWeight = -1;
  for (let shard = 0; shard < shards; shard++) {
    const weight = mix(hash ^ Math.imul(shard + 1, 0x9e3779b1));
    if (weight > bestWeight) {
      bestWeight = weight;
      best = shard;
    }
  }
  return best;
}

/** MurmurHash3's finalizer: every input bit changes every output bit with probability one half. */
function mix(value: number): number {
  let h = value;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}
