/**
 * The requests of ZooKeeper's protocol that an election needs, each with its reply.
 *
 * @module
 */

import { permanently } from "../../src/call.ts";
import { type JuteReader, JuteWriter } from "./jute.ts";

/** The server's knowledge of a node, as far as it is of use here. */
export interface Stat {
  /** The transaction that created the node: larger than that of every node created before, anywhere on the ensemble. */
  readonly czxid: bigint;
  /** When it was created, by the server's clock, in milliseconds since the epoch. */
  readonly ctime: number;
  /** When its data was last written, by the same clock. */
  readonly mtime: number;
  /** The number of times that its data has been written. */
  readonly version: number;
  /** The session that it belongs to; 0 when it belongs to none. */
  readonly ephemeralOwner: bigint;
}

/** One entry of an access control list. */
export interface Acl {
  /** The permissions, as a bit set; 31 is all. */
  readonly perms: number;
  /** The scheme, by which `id` names who is meant. */
  readonly scheme: string;
  /** See `scheme`. */
  readonly id: string;
}

/** A request, and how to read its reply. */
export interface Operation<T> {
  /** The operation's code. */
  readonly type: number;
  /** Appends the request. */
  write(writer: JuteWriter): void;
  /** Reads the reply. */
  read(reader: JuteReader): T;
  /** The path on which it leaves a watch. */
  readonly watches?: string;
}

/** Anyone may do anything. */
export const OPEN_ACL: readonly Acl[] = [{ perms: 31, scheme: "world", id: "anyone" }];
/** Clients that are authenticated as the creator is may do anything. */
export const CREATOR_ALL_ACL: readonly Acl[] = [{ perms: 31, scheme: "auth", id: "" }];

/** The kinds of nodes to create. */
export const NodeKind = { persistent: 0, ephemeralSequential: 3, container: 4 } as const;

/** The identifiers of packets that are no replies to numbered requests. */
export const Xid = { event: -1, ping: -2, auth: -4 } as const;

/** The codes of the operations that have no {@linkcode Operation}. */
export const OpCode = { create: 1, exists: 3, ping: 11, auth: 100, closeSession: -11 } as const;

/** Any version of a node. */
const ANY_VERSION = -1;

/** The server's answer that it did not do as asked; or, with the code -4, a lost connection. */
export class ZooKeeperError extends Error {
  override name = "ZooKeeperError";
  /** The code of ZooKeeper's protocol. */
  readonly code: number;

  constructor(code: number, detail?: string) {
    const name = ERROR_NAMES[code] ?? `error ${code}`;
    super(detail === undefined ? name : `${name} (${detail})`);
    this.code = code;
    if (FOR_GOOD.includes(code)) permanently(this);
  }
}

/** The error codes that are told apart. */
export const ErrorCode = {
  connectionLoss: -4,
  unimplemented: -6,
  noNode: -101,
  nodeExists: -110,
  sessionExpired: -112,
  authFailed: -115,
  sessionMoved: -118,
} as const;

/** Refused rights, credentials and access control lists, and a server that is too old: none mends by itself. */
const FOR_GOOD = [-6, -102, -114, -115];

const ERROR_NAMES: Readonly<Record<number, string>> = {
  [-4]: "the connection was lost",
  [-5]: "marshalling error",
  [-6]: "the server does not know the operation; ZooKeeper 3.5.3 or later is needed",
  [-8]: "bad arguments",
  [-101]: "no such node",
  [-102]: "not authorized",
  [-103]: "bad version",
  [-108]: "the parent is ephemeral",
  [-110]: "the node exists",
  [-111]: "the node has children",
  [-112]: "the session has expired",
  [-114]: "invalid access control list",
  [-115]: "authentication failed",
  [-118]: "the session has moved to another server",
  [-125]: "the quota is exceeded",
};

/** Returns true if `error` is the server's answer with `code`. */
export function isError(error: unknown, code: number): boolean {
  return error instanceof ZooKeeperError && error.code === code;
}

/** Creates a node; a sequential one gets its number appended. */
export function create(
  path: string,
  data: Uint8Array,
  acl: readonly Acl[],
  kind: number,
): Operation<{ path: string; stat: Stat }> {
  return {
    type: kind === NodeKind.container ? 19 : 15,
    write: (writer) => writeCreate(writer, path, data, acl, kind),
    read: (reader) => ({ path: reader.string(), stat: readStat(reader) }),
  };
}

/** Deletes a node, whatever its version. */
export function remove(path: string): Operation<void> {
  return { type: 2, write: (writer) => writer.string(path).int(ANY_VERSION), read: nothing };
}

/** Looks up the stat of a node: a missing node is the error {@linkcode ErrorCode.noNode}. */
export function exists(path: string, watch = false): Operation<Stat> {
  return {
    type: OpCode.exists,
    write: (writer) => writer.string(path).boolean(watch),
    read: readStat,
    ...(watch && { watches: path }),
  };
}

/** Reads a node. */
export function getData(path: string, watch = false): Operation<{ data: Uint8Array; stat: Stat }> {
  return {
    type: 4,
    write: (writer) => writer.string(path).boolean(watch),
    read: (reader) => ({ data: reader.buffer(), stat: readStat(reader) }),
    ...(watch && { watches: path }),
  };
}

/** Writes a node, whatever its version. */
export function setData(path: string, data: Uint8Array): Operation<Stat> {
  return { type: 5, write: (writer) => writer.string(path).buffer(data).int(ANY_VERSION), read: readStat };
}

/** Lists the names of a node's children, in no order. */
export function getChildren(path: string, watch = false): Operation<string[]> {
  return {
    type: 12,
    write: (writer) => writer.string(path).boolean(watch),
    read: (reader) => {
      const names = reader.strings();
      readStat(reader);
      return names;
    },
    ...(watch && { watches: path }),
  };
}

/** Brings the server up to date with the leader of its ensemble, before the requests that follow. */
export function sync(path: string): Operation<string> {
  return { type: 9, write: (writer) => writer.string(path), read: (reader) => reader.string() };
}

/** Within {@linkcode multi}: fails unless the node exists. */
export function check(path: string): Operation<void> {
  return { type: 13, write: (writer) => writer.string(path).int(ANY_VERSION), read: nothing };
}

/**
 * Does all of `operations` (create, remove, setData, check) in one transaction, or none. It is agreed on by a quorum
 * also when it changes nothing. Its error is that of the first operation that failed.
 */
export function multi(operations: readonly Operation<unknown>[]): Operation<unknown[]> {
  return {
    type: 14,
    write: (writer) => {
      for (const operation of operations) {
        writer.int(operation.type).boolean(false).int(-1);
        operation.write(writer);
      }
      writer.int(-1).boolean(true).int(-1);
    },
    read: (reader) => {
      const results: unknown[] = [];
      let failed = 0;
      for (const operation of operations) {
        const type = reader.int();
        reader.boolean();
        reader.int();
        // Operations before the one that failed answer 0, those after it -2.
        if (type === -1) failed ||= reader.int();
        // Some versions answer a creation within a transaction in the old form, without a stat.
        else results.push(type === OpCode.create ? reader.string() : operation.read(reader));
      }
      if (failed !== 0) throw new ZooKeeperError(failed);
      return results;
    },
  };
}

/** The first message of a client on every connection; `sessionId` 0 asks for a new session. */
export interface ConnectRequest {
  /** The newest transaction that the client has seen: a server that is behind it refuses. */
  readonly lastZxid: bigint;
  /** The session timeout that it asks for, in milliseconds. */
  readonly timeout: number;
  /** The session. */
  readonly sessionId: bigint;
  /** The session's password. */
  readonly password: Uint8Array;
}

/** Encodes the first frame of a connection. */
export function connectFrame(request: ConnectRequest): Uint8Array {
  return new JuteWriter().int(0).long(request.lastZxid).int(request.timeout).long(request.sessionId)
    .buffer(request.password).boolean(false).frame();
}

/** Reads the header that each reply begins with. */
export function readReplyHeader(reader: JuteReader): { xid: number; zxid: bigint; code: number } {
  return { xid: reader.int(), zxid: reader.long(), code: reader.int() };
}

/** Reads the path of an event; what has happened there, and to the session, its reader finds out by looking. */
export function readEventPath(reader: JuteReader): string {
  reader.int();
  reader.int();
  return reader.string();
}

/** Decodes the server's first frame. A session that has expired comes back as timeout 0. */
export function readConnectReply(reader: JuteReader): { timeout: number; sessionId: bigint; password: Uint8Array } {
  reader.int();
  return { timeout: reader.int(), sessionId: reader.long(), password: reader.buffer() };
}

/** Encodes the frame that authenticates as `scheme` understands `credentials`. */
export function authFrame(scheme: string, credentials: string): Uint8Array {
  return new JuteWriter().int(Xid.auth).int(OpCode.auth).int(0).string(scheme).string(credentials).frame();
}

/** Encodes a frame that is all header. */
export function bareFrame(xid: number, type: number): Uint8Array {
  return new JuteWriter().int(xid).int(type).frame();
}

/** Encodes a request, to be numbered when it is sent. */
export function requestFrame(operation: Operation<unknown>): Uint8Array {
  const writer = new JuteWriter().int(0).int(operation.type);
  operation.write(writer);
  return writer.frame();
}

/** Numbers a request. */
export function numberRequest(frame: Uint8Array, xid: number): Uint8Array {
  new DataView(frame.buffer, frame.byteOffset).setInt32(4, xid);
  return frame;
}

function nothing(): void {}

function writeCreate(writer: JuteWriter, path: string, data: Uint8Array, acl: readonly Acl[], kind: number): void {
  writer.string(path).buffer(data).int(acl.length);
  for (const { perms, scheme, id } of acl) writer.int(perms).string(scheme).string(id);
  writer.int(kind);
}

function readStat(reader: JuteReader): Stat {
  const czxid = reader.long();
  reader.long();
  const ctime = Number(reader.long());
  const mtime = Number(reader.long());
  const version = reader.int();
  reader.int();
  reader.int();
  const ephemeralOwner = reader.long();
  reader.int();
  reader.int();
  reader.long();
  return { czxid, ctime, mtime, version, ephemeralOwner };
}
