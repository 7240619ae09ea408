import process from 'node:process';
import { createInterface } from 'node:readline';
import { McpAgent } from './mcp-agent.ts';

/**
 * An MCP client that is a process of its own, to be killed: `node client-process.ts HOME AGENT`. It says on stdout,
 * one JSON document a line, which process serves it, and then each message that it was shown; it asks for the next
 * one when a line comes in.
 */
const [home = '', address = ''] = process.argv.slice(2);
const agent = await McpAgent.open({ home }, address);
const say = (document: object): void => void process.stdout.write(`${JSON.stringify(document)}\n`);

say({ server: agent.pid });
createInterface(process.stdin).on('line', () => void agent.next().then(say));
