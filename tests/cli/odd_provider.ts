/** A provider whose methods a test decides about, for `elect --import`. */

const core = new URL("../../mod.ts", import.meta.url);

/** Returns a module that registers `odd:`, whose provider does as `methods` say, else as `memory` does. */
export function oddProvider(methods: string): string {
  return `import { openProvider, registerProvider } from "${core}";
registerProvider({ name: "odd", protocols: ["odd:"], open: async () => {
  const memory = await openProvider("memory:odd-" + Deno.pid);
  return Object.assign({
    name: "odd",
    capabilities: { ...memory.capabilities, timeAuthority: "server" },
    [Symbol.asyncDispose]: () => memory[Symbol.asyncDispose](),
  }, Object.fromEntries(["acquire", "renew", "release", "read", "watch", "groups", "healthCheck"].map((name) =>
    [name, (...args) => memory[name](...args)])), { ${methods} });
} });
`;
}
