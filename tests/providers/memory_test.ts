import { test } from "node:test";
import { type MemoryOptions, memoryProvider } from "../../providers/memory.ts";
import { conformanceCases } from "../../testing/conformance.ts";
import { heldCalls } from "../testing/held_calls.ts";

const open = (options?: MemoryOptions) => memoryProvider({ ...options, name: "conformance" });
const target = { name: "memory", open, heartbeatTimeout: 300, detour: heldCalls(open) };
for (const { name, run } of conformanceCases(target)) test(name, run);
