#!/usr/bin/env node
// Nothing is imported here before the version is known: an older Node could not even parse what follows, and its
// user would see a stack trace instead of this line.
const NODE_MAJOR_MIN = 24;
const nodeMajor = Number(process.versions.node.split('.')[0]);

if (nodeMajor < NODE_MAJOR_MIN) {
  process.stderr.write(
    `patchcord needs Node.js ${NODE_MAJOR_MIN} or newer, this is ${process.versions.node}: get it from https://nodejs.org or with \`npm install --global node@${NODE_MAJOR_MIN}\`.\n`,
  );
  process.exitCode = 1;
} else {
  const { main } = await import('./main.ts');
  await main(process.argv.slice(2));
}
