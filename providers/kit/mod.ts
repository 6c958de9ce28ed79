/**
 * The tools for those who write a provider: one call and its error, settings that are read once, certificates from
 * files, evidence against a server's clock, and a provider around another one. How they go together is in
 * `docs/providers.md`.
 *
 * @module
 */

export { abortable, callBackend, parseMetadata, permanently, providerError } from "../../src/call.ts";
export { ForwardingProvider } from "../../src/forwarding_provider.ts";
export { redact } from "../../src/redact.ts";
export { nearest, refuseUnknown } from "../../src/spelling.ts";
export { type Clock, sleep, systemClock } from "../../src/time/clock.ts";
export { type Duration, parseDuration } from "../../src/time/duration.ts";
export { CLOCK_RATE_ERROR, type Evidence, LeaseEvidence, type SeenRecord } from "./lease_evidence.ts";
export {
  checkOptions,
  type ParameterKind,
  type Parameters,
  type ParameterValue,
  readParameters,
} from "./parameters.ts";
export { readTlsFiles, TLS_PARAMETERS, type TlsFiles, type TlsSettings } from "./tls_files.ts";
