/** Says who leads a group, by the provider alone: what it does without is not needed. */

import process from "node:process";
import { sqlserverProvider } from "../../../providers/sqlserver.ts";

const provider = sqlserverProvider({ url: process.argv[2] ?? "" });
const leader = await provider.read("g", { signal: AbortSignal.timeout(20_000) });
console.log(`led by ${leader?.leaderId}`);
await provider[Symbol.asyncDispose]();
