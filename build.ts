import { build } from 'rolldown';

/**
 * `npm run build`: the package is one program in a few files. Loading the 1,300 modules of the daemon one by one takes as
 * long again as all it does until it is ready, at every start (docs/decisions/0016-one-program.md). Types are not checked here.
 */
await build({
  input: 'cli/bin.ts',
  cwd: import.meta.dirname,
  platform: 'node',
  external: [
    // With a part in machine code, which it looks for beside itself.
    'level',
    // What fastify loads for JSON schemas, that is never.
    '@fastify/ajv-compiler',
    '@fastify/fast-json-stringify-compiler',
  ],
  output: { dir: 'dist', cleanDir: true, entryFileNames: 'cli/[name].js', chunkFileNames: 'cli/[name].js' },
});
