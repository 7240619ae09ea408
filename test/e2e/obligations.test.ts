import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { mesh, type DaemonProcess } from '../processes/daemon-process.ts';
import { eventually } from '../processes/eventually.ts';
import type { McpAgent } from '../processes/mcp-agent.ts';
import { Stage } from '../processes/stage.ts';

/**
 * Answers asked for, chains of answers and threads opened apart, between the agents of two daemons. One is told the
 * bound of hops by a flag, the other by a variable.
 */
const stage = new Stage();
let a: DaemonProcess;
let b: DaemonProcess;

const startA = () => a.start('--max-hops', '4');

beforeAll(async () => {
  [a, b] = [stage.home('alpha'), stage.home('beta')];
  b.env = { PATCHCORD_HOPS: '4' };
  await Promise.all([startA(), b.start()]);
  await mesh('team', a, b);
});
afterAll(() => stage.end());

const both = (one: string, other: string): Promise<[McpAgent, McpAgent]> =>
  Promise.all([stage.agent(a, `${one}@team`), stage.agent(b, `${other}@team`)]);

/** Both, when they know each other; what was pending is read by then. */
async function pair(one: string, other: string): Promise<[McpAgent, McpAgent]> {
  const agents = await both(one, other);
  await Promise.all([agents[0].sees(other), agents[1].sees(one)]);
  return agents;
}

const refusal = (code: string) => expect.objectContaining({ name: 'Error', code });
const answer = (agent: McpAgent, id: string, content = 'and you?') =>
  agent.call('reply', { message_id: id, content });

describe('an answer asked for', () => {
  test('and not given comes back to both', async () => {
    const [asker, owing] = await pair('asker', 'owing');
    const sent = await asker.call('send_message', { to_agent: 'owing', content: 'well?', reply_by: '1s' });
    const id = sent.message_id;
    expect(await owing.next()).toMatchObject({ message_id: id, reply_by: expect.any(String) });
    expect(await owing.next()).toMatchObject({ notice: 'reminder', about: id, from: 'patchcord' });
    expect(await asker.next()).toMatchObject({ notice: 'unanswered', about: id, from: 'patchcord' });
  });

  test('from the command line, and let go of, is asked for no longer', async () => {
    const [asker, owing] = await pair('asker2', 'owing2');
    const as = ['--as', asker.address] as const;
    const { message_id: id } = await a.json<{ message_id: string }>(
      ...(['send', 'owing2', 'well?', '--reply-by', '1h'] as const),
      ...as,
    );
    expect(await owing.next()).toMatchObject({ message_id: id, reply_by: expect.any(String) });
    await a.json('reply', id, '--resolve', ...as);
    await eventually(
      'the asking has ended on the other side',
      async () => (await owing.call('recall')).messages,
      ([asked]) => asked!.message_id === id && asked!.reply_by === undefined,
    );
    expect((await b.run('send', 'asker2', 'x', '--as', owing.address, '--reply-by', 'soon')).code).toBe(2);
  });
});

describe('agents that answer one another', () => {
  test('are stopped, and go on when a person says so', async () => {
    const [one, two] = await pair('chat.one', 'chat.two');
    let id = await one.send('chat.two', 'hello');
    for (const agent of [two, one, two]) {
      expect((await agent.next()).message_id).toBe(id);
      id = (await answer(agent, id)).reply_id!;
    }
    expect((await one.next()).message_id).toBe(id);
    await expect(answer(one, id)).rejects.toEqual(refusal('loop_guard'));
    await expect(answer(one, id)).rejects.toThrow('patchcord reset --as chat.one@team');
    expect(await a.json('reset', '--as', one.address)).toEqual({ agent: one.address });
    id = (await answer(one, id)).reply_id!;
    expect((await two.next()).message_id).toBe(id);
    expect(await answer(two, id)).toMatchObject({ status: 'replied' });
  });
});

describe('a thread that both open apart', () => {
  test('is one when they meet, and a resolve that crossed a message has not closed it', async () => {
    const [left, right] = await pair('apart.left', 'apart.right');
    await Promise.all([left.close(), right.close()]);
    await b.kill('SIGTERM');
    const say = async (machine: DaemonProcess, from: string, to: string, text: string) =>
      machine.json<{ thread_id: string }>('send', to, text, '--as', `${from}@team`, '--thread', 'plan');
    const { thread_id: mine } = await say(a, 'apart.left', 'apart.right', 'from the left');
    await a.kill('SIGTERM');
    await b.start();
    const { thread_id: theirs } = await say(b, 'apart.right', 'apart.left', 'from the right');
    expect(theirs).not.toBe(mine);
    await startA();
    const [l, r] = await both('apart.left', 'apart.right');
    const [root] = [mine, theirs].sort();
    const shown = { left: await l.next(), right: await r.next() };
    expect(shown).toMatchObject({
      left: { content: 'from the right', thread_id: root },
      right: { content: 'from the left', thread_id: root },
    });
    for (const agent of [l, r]) {
      for (const id of [mine, theirs])
        expect((await agent.call('recall', { thread_id: id })).messages).toHaveLength(2);
    }
    // The left closes the thread while the right, which is away from it, says more.
    await Promise.all([l.close(), r.close()]);
    await b.kill('SIGTERM');
    await a.json('reply', shown.left.message_id, '--resolve', '--as', 'apart.left@team');
    await a.kill('SIGTERM');
    await b.start();
    await say(b, 'apart.right', 'apart.left', 'one more thing');
    await startA();
    const [again, other] = await both('apart.left', 'apart.right');
    expect(await again.next()).toMatchObject({ content: 'one more thing' });
    expect(await other.next()).toMatchObject({ content: '' });
    for (const agent of [again, other]) {
      const { messages } = await agent.call('recall', { thread_id: root });
      expect(messages.map(({ thread_resolved_at: at }) => at)).toEqual(
        messages.map((): undefined => undefined),
      );
      expect(messages).toHaveLength(4);
    }
  });
});
