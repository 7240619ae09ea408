import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js';
import { z } from 'zod';
import {
  zAttachmentResult,
  zErrorView,
  zInboxResult,
  zRecallResult,
  zReplyResult,
  zSendResult,
  zUnsendResult,
  zWaitResult,
  type AttachmentResult,
  type InboxResult,
  type MessageView,
  type RecallResult,
  type ReplyResult,
  type SendResult,
  type UnsendResult,
  type WaitResult,
} from '../../protocol/views.ts';
import { BIN, type DaemonProcess } from './daemon-process.ts';
import { eventually } from './eventually.ts';

/** What each tool's structured content is. */
interface Results {
  inbox: InboxResult;
  send_message: SendResult;
  reply: ReplyResult;
  wait_for_message: WaitResult;
  recall: RecallResult;
  unsend: UnsendResult;
  attachment: AttachmentResult;
}

const RESULTS: { [Tool in keyof Results]: z.ZodType<Results[Tool]> } = {
  inbox: zInboxResult,
  send_message: zSendResult,
  reply: zReplyResult,
  wait_for_message: zWaitResult,
  recall: zRecallResult,
  unsend: zUnsendResult,
  attachment: zAttachmentResult,
};

const zRefusal = z.object({
  structuredContent: z.object({ error: zErrorView }),
  content: z.tuple([z.object({ text: z.string() })]),
});

/** A tool's refusal. */
export class ToolError extends Error {
  readonly code: string;

  constructor(code: string, text: string) {
    super(text);
    this.code = code;
  }
}

/** What an agent has to know of its machine. */
type McpMachine = Pick<DaemonProcess, 'home'> & Partial<Pick<DaemonProcess, 'prefix'>>;

/** An agent: a real MCP client over stdio, its server a process of its own. */
export class McpAgent {
  readonly address: string;
  readonly client: Client;
  readonly #transport: StdioClientTransport;

  private constructor({ home, prefix = [] }: McpMachine, address: string, clientName: string) {
    this.address = address;
    this.client = new Client({ name: clientName, version: '1.0.0' });
    const words = [...prefix, process.execPath, BIN, 'mcp', '--agent', address, '--home', home];
    const [command = process.execPath, ...args] = words;
    this.#transport = new StdioClientTransport({
      command,
      args,
      stderr: 'ignore',
    });
  }

  static async open(machine: McpMachine, address: string, clientName = 'test-client'): Promise<McpAgent> {
    const agent = new McpAgent(machine, address, clientName);
    await agent.client.connect(agent.#transport);
    return agent;
  }

  /** The process that serves this client. */
  get pid(): number {
    return this.#transport.pid!;
  }

  /** Calls a tool; throws {@link ToolError} for a refusal, and ZodError for what is no answer of that tool. */
  async call<T extends keyof Results>(
    tool: T,
    args: Record<string, unknown> = {},
    signal?: AbortSignal,
  ): Promise<Results[T]> {
    const options = {
      timeout: 120_000,
      resetTimeoutOnProgress: true,
      onprogress() {},
      ...(signal ? { signal } : {}),
    };
    const result = await this.client.callTool({ name: tool, arguments: args }, undefined, options);
    if (!result.isError) return RESULTS[tool].parse(result.structuredContent);
    const { structuredContent, content } = zRefusal.parse(result);
    throw new ToolError(structuredContent.error.code, content[0].text);
  }

  /** Sends a message to one agent and gives its id. */
  async send(to: string, content: string, thread = ''): Promise<string> {
    const sent = await this.call('send_message', { to_agent: to, content, thread });
    if (sent.status !== 'sent') throw new Error(`send_message: ${JSON.stringify(sent)}`);
    return sent.message_id!;
  }

  /** Waits for one message, however long one call may wait. */
  async next(): Promise<MessageView> {
    for (;;) {
      const { message } = await this.call('wait_for_message', { timeout_seconds: 40 });
      if (message) return message;
    }
  }

  /** Looks again until the inbox lists an agent, whether it is online or not unless that is asked for. */
  async sees(name: string, wanted: { online?: boolean } = {}): Promise<void> {
    await eventually(
      `${this.address} sees ${name}`,
      async () => (await this.call('inbox', { all_agents: true })).agents,
      (agents) =>
        agents.some(
          ({ agent, online }) => agent.startsWith(`${name}@`) && (wanted.online ?? online) === online,
        ),
    );
  }

  /** Looks again until what was sent has reached one of these states; receipts wake nobody. */
  async reaches(messageId: string, ...states: MessageView['status'][]): Promise<void> {
    await eventually(
      `${messageId} is ${states.join(' or ')}`,
      async () => {
        const { messages } = await this.call('recall', { limit: 100 });
        return messages.find(({ message_id: id }) => id === messageId)?.status;
      },
      (state) => state !== undefined && states.includes(state),
    );
  }

  async close(): Promise<void> {
    await this.client.close();
  }
}
