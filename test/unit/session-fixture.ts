import { request } from 'node:http';
import type { Socket } from 'node:net';
import { createInterface } from 'node:readline';
import { z } from 'zod';
import { SESSION_PATH, SESSION_PROTOCOL } from '../../daemon/api/session-protocol.ts';
import { FRONTEND, placeOf, type Asked } from './api-fixture.ts';

/** Asks for the connection of a session: its socket, or what is answered instead. */
export async function knock(at: number | string, asked: Asked = {}, path = SESSION_PATH) {
  const { promise, resolve, reject } = Promise.withResolvers<{ socket: Socket } | { status: number }>();
  const sent = request({
    ...placeOf(at),
    path,
    headers: { connection: 'Upgrade', upgrade: SESSION_PROTOCOL, ...asked.headers },
    agent: false,
  });
  sent.once('upgrade', (_response, socket) => resolve({ socket }));
  sent.once('response', (response) => {
    response.resume();
    resolve({ status: response.statusCode! });
  });
  sent.on('error', reject);
  sent.end();
  return promise;
}

/** Opens a session, line by line as the protocol has it. */
export async function openSession(
  at: number | string,
  agent = FRONTEND,
  asked: Asked = {},
  opening: object = { agent, client: 'test 1' },
) {
  const knocked = await knock(at, asked);
  if (!('socket' in knocked)) throw new Error(`refused with ${knocked.status}`);
  const { socket } = knocked;
  const ended = new Promise<void>((resolve) => socket.once('close', () => resolve()));
  socket.on('error', () => {});
  const waiting: ((line: string) => void)[] = [];
  const lines: string[] = [];
  createInterface(socket).on('line', (line) => {
    const next = waiting.shift();
    if (next) next(line);
    else lines.push(line);
  });
  const nextLine = async () =>
    lines.shift() ?? (await new Promise<string>((resolve) => waiting.push(resolve)));
  const write = (line: unknown) => void socket.write(`${JSON.stringify(line)}\n`);
  write(opening);
  const opened = zLine.parse(JSON.parse(await nextLine()));
  let count = 0;
  /** One at a time. */
  async function call(name: string, params?: unknown): Promise<z.infer<typeof zLine>> {
    const id = (count += 1);
    write({ id, call: name, params });
    const said = zLine.parse(JSON.parse(await nextLine()));
    if (said.id !== id) throw new Error(`an answer to ${said.id}`);
    return said;
  }
  return { socket, ended, opened, nextLine, write, call };
}

const zLine = z.object({
  id: z.number(),
  answer: z.record(z.string(), z.unknown()).optional(),
  problem: z.record(z.string(), z.unknown()).optional(),
});
