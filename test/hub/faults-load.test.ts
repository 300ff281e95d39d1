/** Overload, long runs and what else could take a hub down, at the size of the gate. */
import { gateOf } from '../faults/gate.ts';

await gateOf(22, 38);
