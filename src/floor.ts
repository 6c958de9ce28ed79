/**
 * The oldest Node on which this package runs, refused with a clear error at the first import: what fails on an older
 * one fails late, and names a syntax or a method instead of the cause.
 *
 * @module
 */

/** The oldest Node: the first 22, which is under long-term support, that takes TypeScript and `import.meta.main`. */
const [MAJOR, MINOR] = [22, 18];

// Deno and Bun say which Node they stand for; their own versions decide.
// Asked in this order: Deno makes its `process` when somebody first asks for it, which takes it 15 ms.
if (!("Deno" in globalThis) && !("bun" in globalThis.process.versions)) {
  const { node } = globalThis.process.versions;
  const [major = 0, minor = 0] = node.split(".").map(Number);
  if (major < MAJOR || (major === MAJOR && minor < MINOR)) {
    const why = `it needs Node ${MAJOR}.${MINOR} or later, Deno or Bun`;
    throw new Error(`Cannot use @multilock/core on Node ${node}: ${why}`);
  }
}
