/**
 * Guards for what a leader writes to: each refuses a token that is lower than the highest it has admitted. So a write
 * that comes too late, by a leader that was stopped between its last check and its write, is refused, whatever the
 * clocks do. `docs/fencing.md` says which to take, and shows each.
 *
 * The promise: once a token has been admitted for a resource, nothing that a lower one writes through the guard is
 * carried out. The limit: who writes past the guard is not held up; and a guard that has lost its memory (a table that
 * was dropped, a Redis that was flushed) refuses nothing until it has seen a token again.
 *
 * @module
 */

export { type AdmitOptions, type Fence, FencedError, MAX_TOKEN } from "./fence.ts";
export { memoryFence } from "./memory.ts";
export { type SqlFence, type SqlFenceOptions } from "./sql.ts";
export { postgresFence, type PostgresFenceClient, type PostgresFenceOptions } from "./postgres.ts";
export { mysqlFence, type MysqlFenceClient } from "./mysql.ts";
export {
  sqlserverFence,
  type SqlServerFenceClient,
  type SqlServerFenceOptions,
  type SqlServerFenceRequest,
} from "./sqlserver.ts";
export { type SqliteFence, sqliteFence, type SqliteFenceDatabase } from "./sqlite.ts";
export {
  type RedisFence,
  redisFence,
  type RedisFenceClient,
  type RedisFenceOptions,
  type RedisWrite,
} from "./redis.ts";
export {
  type AzureBlobFence,
  azureBlobFence,
  type BlobConditions,
  type FencedBlobClient,
  type FencedBlobOptions,
  type FencedContainerClient,
} from "./azure_blob.ts";
export { type Admission, fencedHandler, type FencedHandlerOptions, FENCING_TOKEN } from "./handler.ts";
