/**
 * Node's http. An `import` of it reads every export, among them the getters of a WebSocket client that most programs never
 * use: that loads all of undici, 50 ms of work at each start.
 */
export const { Agent, createServer, request, ServerResponse } = process.getBuiltinModule('node:http');
