/**
 * A fence before an HTTP handler.
 *
 * @module
 */

import { abortable } from "../src/call.ts";
import { refuseUnknown } from "../src/spelling.ts";
import { checkAdmission, type Fence, FencedError, MAX_TOKEN } from "./fence.ts";
import { Turnstile } from "./turnstile.ts";

/** The header that carries the token: a decimal number. */
export const FENCING_TOKEN = "Fencing-Token";

/** Options of `fencedHandler`. */
export interface FencedHandlerOptions {
  /**
   * Returns what a request writes to. Requests to different resources know nothing of each other: a term that is over
   * may still write where no later one has written. @default one resource for all requests
   */
  readonly resource?: ((request: Request) => string) | undefined;
}

/** The facts that a handler is told beside its request. */
export interface Admission {
  /** The resource that the request writes to. */
  readonly resource: string;
  /** The token that was admitted. */
  readonly token: bigint;
}

/**
 * Wraps a handler of HTTP requests so that it only gets those whose `Fencing-Token` is admitted. The others are
 * answered with `application/problem+json` (RFC 9457): 428 without a token, 400 with a malformed one, 412 with one that
 * is too low. A fence that fails rejects.
 *
 * While requests under one token are handled, those to the same resource under another wait, so that what a handler has
 * begun is done before a higher token is admitted. A handler that does not settle keeps the others waiting until their
 * clients give up. That holds within one process. Where several serve one resource, the write itself has to be fenced,
 * in the transaction that makes it: `token` is there for that.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { fencedHandler, memoryFence } from "@multilock/core/fencing";
 *
 * const handler = fencedHandler(memoryFence(), (_request, { token }) => new Response(`written under ${token}`));
 * const put = (token: string) => handler(new Request("http://h/", { headers: { "Fencing-Token": token } }));
 * assert.equal((await put("8")).status, 200);
 * assert.equal((await put("7")).status, 412);
 * ```
 */
export function fencedHandler(
  fence: Fence,
  handler: (request: Request, admission: Admission) => Response | Promise<Response>,
  options: FencedHandlerOptions = {},
): (request: Request) => Promise<Response> {
  refuseUnknown("option of fencedHandler", Object.keys(options), ["resource"]);
  const { resource: resourceOf = () => "http" } = options;
  const turnstile = new Turnstile();
  return async (request) => {
    const text = request.headers.get(FENCING_TOKEN);
    if (text === null) {
      return problem(428, "Precondition Required", `This resource takes requests with a ${FENCING_TOKEN} only.`);
    }
    const token = /^\d{1,19}$/.test(text) ? BigInt(text) : MAX_TOKEN + 1n;
    if (token > MAX_TOKEN) {
      return problem(400, "Bad Request", `${FENCING_TOKEN} must be a whole number from 0 to ${MAX_TOKEN}.`);
    }
    const resource = resourceOf(request);
    checkAdmission(resource, token, request);
    const entering = turnstile.enter(resource, token);
    const leave = await abortable(entering, request.signal).catch((error: unknown) => {
      // It keeps its place in the queue, and must not keep the others out when its turn comes.
      void entering.then((leaveLater) => leaveLater());
      throw error;
    });
    try {
      await fence.admit(resource, token, { signal: request.signal });
      return await handler(request, { resource, token });
    } catch (error) {
      if (!(error instanceof FencedError)) throw error;
      const { highest } = error;
      return problem(412, "Precondition Failed", "A later term has written to this resource.", {
        resource: error.resource,
        token: String(error.token),
        highest: String(highest),
      });
    } finally {
      leave();
    }
  };
}

function problem(status: number, title: string, detail: string, more: Record<string, string> = {}): Response {
  return new Response(JSON.stringify({ title, status, detail, ...more }), {
    status,
    headers: { "content-type": "application/problem+json" },
  });
}
