/**
 * For those who write a provider, or who test a program that elects: the conformance suite, a clock that moves only
 * when told to, a provider that fails on demand, and a check of what a lease told its clients.
 *
 * @module
 */

export { conformanceCases } from "./conformance.ts";
export type { ConformanceCase, ConformanceDetour, ConformanceFaults, ConformanceTarget } from "./conformance.ts";
export { FaultyProvider } from "./faulty_provider.ts";
export type { Fault, FaultyOperation } from "./faulty_provider.ts";
export { checkLinearizability, RegisterRecorder } from "./linearizability.ts";
export type {
  LinearizabilityOptions,
  LinearizabilityResult,
  RegisterAnswer,
  RegisterOperation,
  RegisterRules,
  RegisterViolation,
} from "./linearizability.ts";
export { VirtualClock } from "./virtual_clock.ts";
export type { Skew } from "./virtual_clock.ts";
