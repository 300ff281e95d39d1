/** Hostile input and clients that go wrong, at the size of the gate. */
import { gateOf } from '../faults/gate.ts';

await gateOf(13, 21);
