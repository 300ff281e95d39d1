/**
 * `hubbub/testing`: what this project breaks itself with, for tests of applications. A hub as a process, a network that fails,
 * a history of what every client sent and was told, and a checker that says what in it no hub may do.
 */
export { type AuditOptions, auditRooms } from './audit.ts';
export { checkHistory, invariants, type Violation } from './checker.ts';
export { type Exit, HubProcess, type StartOptions, startHub } from './hub-process.ts';
export { type Cut, type Direction, type Link, type ProxyOptions, startProxy, TcpProxy, type Verdict } from './proxy.ts';
export { recordedWebSocket } from './recorded-socket.ts';
export { type Entitlement, type HistoryEvent, type LogEntry, Recorder } from './recorder.ts';
