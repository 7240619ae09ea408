import { performance } from 'node:perf_hooks';
import { DaemonProcess, mesh } from '../processes/daemon-process.ts';
import { McpAgent } from '../processes/mcp-agent.ts';

/**
 * Two machines as two daemon processes, two agents as two real MCP clients, a conversation over libp2p; then what
 * a messenger must survive: a recipient that is away, and a sender killed right after it was told "queued".
 * Ends with status 1 when anything differs from what is expected.
 */
const started = performance.now();

function say(who: string, text: string): void {
  const seconds = ((performance.now() - started) / 1_000).toFixed(2).padStart(6);
  console.log(`${seconds}s  ${who.padEnd(10)}${text}`);
}

function expect(what: string, actual: unknown, wanted: unknown): void {
  if (JSON.stringify(actual) === JSON.stringify(wanted)) return;
  throw new Error(`${what}: expected ${JSON.stringify(wanted)}, got ${JSON.stringify(actual)}`);
}

async function conversation(frontend: McpAgent, backend: McpAgent): Promise<void> {
  const waiting = backend.next();
  const sent = await frontend.call('send_message', {
    to_agent: 'backend',
    content: 'run the migration',
    thread: 'auth-migration',
  });
  say('frontend', `send_message("backend", "run the migration")   -> ${sent.receipts[0]?.state}`);
  const request = await waiting;
  say('backend', `wait_for_message() -> ${request.from} on ${request.from_machine}: "${request.content}"`);
  expect('the request', [request.content, request.thread], ['run the migration', 'auth-migration']);

  const answering = frontend.next();
  await backend.call('reply', {
    message_id: request.message_id,
    content: 'done - 3 tables created',
    resolve: true,
  });
  say('backend', 'reply("done - 3 tables created", resolve=true)');
  const answer = await answering;
  say('frontend', `wait_for_message() -> ${answer.from} on ${answer.from_machine}: "${answer.content}"`);
  expect('the answer', [answer.content, answer.reply_to], ['done - 3 tables created', sent.message_id]);
  const { messages } = await frontend.call('recall', { limit: 5 });
  const state = messages.find((message) => message.message_id === sent.message_id)?.status;
  say('frontend', `recall() -> "run the migration" is ${state}`);
  expect('the receipt ladder', state, 'replied');
}

async function recipientAway(frontend: McpAgent, machineB: DaemonProcess): Promise<McpAgent> {
  await machineB.kill('SIGTERM');
  say('machine b', 'daemon stopped');
  const sent = await frontend.call('send_message', {
    to_agent: 'backend',
    content: 'are the indexes in place?',
  });
  say('frontend', `send_message("backend", "are the indexes in place?")   -> ${sent.receipts[0]?.state}`);
  expect('a message to a machine that is away', sent.receipts[0]?.state, 'queued');
  await machineB.start();
  const backend = await McpAgent.open(machineB, 'backend@myproject');
  say('machine b', 'daemon started again');
  const message = await backend.next();
  say('backend', `wait_for_message() -> "${message.content}"`);
  expect('the message that waited', message.content, 'are the indexes in place?');
  await backend.call('reply', { message_id: message.message_id, content: 'yes, both' });
  const answer = await frontend.next();
  say('frontend', `wait_for_message() -> "${answer.content}"`);
  return backend;
}

async function senderKilled(
  machineA: DaemonProcess,
  machineB: DaemonProcess,
  frontend: McpAgent,
): Promise<McpAgent[]> {
  const texts = ['first', 'second', 'third'];
  for (const content of texts) await frontend.call('send_message', { to_agent: 'backend', content });
  await machineA.kill('SIGKILL');
  say('machine a', 'acknowledged three messages for b, which is away, then kill -9');
  await frontend.close();
  await machineA.start();
  await machineB.start();
  say('both', 'daemons started again');
  const again = await McpAgent.open(machineA, 'frontend@myproject');
  const backend = await McpAgent.open(machineB, 'backend@myproject');
  const seen: string[] = [];
  for (const _ of texts) seen.push((await backend.next()).content);
  say('backend', `received: ${seen.join(', ')}`);
  expect('what was acknowledged, in order', seen, texts);
  await again.call('send_message', { to_agent: 'backend', content: 'last' });
  const last = await backend.next();
  expect('the next message, with nothing twice before it', last.content, 'last');
  const rest = await backend.call('inbox');
  expect('what is left in the inbox', rest.pending, []);
  return [again, backend];
}

const machineA = new DaemonProcess('laptop');
const machineB = new DaemonProcess('server');
let agents: McpAgent[] = [];
try {
  for (const machine of [machineA, machineB]) {
    const info = await machine.start();
    say('machine', `${machine.label}: process ${info.pid}, ${info.listen[0]}`);
  }
  await mesh('myproject', machineA, machineB);
  say('both', 'server joined the namespace myproject by a ticket from laptop');
  const frontend = await McpAgent.open(machineA, 'frontend@myproject');
  let backend = await McpAgent.open(machineB, 'backend@myproject');
  agents = [frontend, backend];
  await frontend.sees('backend');
  await conversation(frontend, backend);
  await backend.close();
  backend = await recipientAway(frontend, machineB);
  await backend.close();
  await machineB.kill('SIGTERM');
  agents = await senderKilled(machineA, machineB, frontend);
  say('demo', 'all as expected: nothing lost, nothing twice, in order');
} catch (error) {
  console.error(`\nThe demo failed: ${error instanceof Error ? error.message : String(error)}`);
  process.exitCode = 1;
} finally {
  await Promise.all(agents.map((agent) => agent.close().catch(() => undefined)));
  await Promise.all([machineA.remove(), machineB.remove()]);
}
