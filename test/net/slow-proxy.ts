import { connect, createServer, type Socket } from 'node:net';
import process from 'node:process';
import { createInterface } from 'node:readline';

/**
 * A bad line, as a process that is run where the line is: `node slow-proxy.ts PORT HOST PORT`. It passes TCP connections
 * on, every piece after a delay between `min` and `max` milliseconds, in order. A line `reset` on stdin resets all
 * connections; a line `delay MIN MAX` changes the delay. It says `ready` when it listens.
 */
const [port, host, targetPort] = process.argv.slice(2);
/** Bytes on their way in one direction before the sender is held up. */
const ON_THE_WAY_BYTES_MAX = 256 * 1024;
const delayMs = { min: 0, max: 0 };
const sockets = new Set<Socket>();

const server = createServer({ allowHalfOpen: true }, (inside) => {
  const outside = connect({ host: host!, port: Number(targetPort), allowHalfOpen: true });
  pass(inside, outside);
  pass(outside, inside);
});
server.listen(Number(port), () => console.log('ready'));

createInterface(process.stdin).on('line', (line) => {
  const [command, min, max] = line.split(' ');
  if (command === 'delay') Object.assign(delayMs, { min: Number(min), max: Number(max) });
  if (command === 'reset') for (const socket of sockets) socket.resetAndDestroy();
});

function pass(from: Socket, to: Socket): void {
  let dueMs = 0;
  const waiting: (() => void)[] = [];
  let onTheWayBytes = 0;
  /** Runs what happened at one end at the other, not before what happened earlier. */
  const later = (happen: () => void) => {
    const nowMs = performance.now();
    dueMs = Math.max(dueMs, nowMs + delayMs.min + Math.random() * (delayMs.max - delayMs.min));
    waiting.push(happen);
    // Timers that are due within one millisecond may go off in any order.
    setTimeout(() => waiting.shift()!(), dueMs - nowMs);
  };
  sockets.add(from);
  from.on('data', (chunk: Buffer) => {
    onTheWayBytes += chunk.length;
    if (onTheWayBytes > ON_THE_WAY_BYTES_MAX) from.pause();
    later(() => {
      onTheWayBytes -= chunk.length;
      from.resume();
      if (to.writable) to.write(chunk);
    });
  });
  from.on('end', () => later(() => to.end()));
  from.on('error', () => to.resetAndDestroy());
  from.on('close', () => sockets.delete(from));
}
