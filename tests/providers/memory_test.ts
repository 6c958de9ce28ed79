import { test } from "node:test";
import { type MemoryOptions, memoryProvider } from "../../providers/memory.ts";
import { conformanceCases } from "../../testing/conformance.ts";

const target = {
  name: "memory",
  open: (options?: MemoryOptions) => memoryProvider({ ...options, name: "conformance" }),
  heartbeatTimeout: 300,
};
for (const { name, run } of conformanceCases(target)) test(name, run);
