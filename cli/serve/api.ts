/**
 * The HTTP API: from a request to an answer.
 *
 * @module
 */

import type { ServerResponse } from "node:http";
import process from "node:process";
import type { Context, Hono } from "hono";
import type { Provider } from "../../mod.ts";
import { type Duration, parseDuration } from "../../src/time/duration.ts";
import { redact } from "../../src/redact.ts";
import { toJson } from "../output.ts";
import { isAuthorised, mayName } from "./access.ts";
import type { EventData, EventStream } from "./event_stream.ts";
import type { Metrics } from "./metrics.ts";
import type { Packages } from "./packages.ts";
import { OPENAPI } from "./openapi.ts";
import { CONTENT_SECURITY_POLICY, PAGE } from "./page.ts";
import type { ServedElection } from "./served_election.ts";

/** The largest body, in bytes. */
const MAX_BODY = 1_024;
/** The most streams of events that may be open at a time, over all elections. */
const MAX_STREAMS = 1_000;
/** The time for which a check of the backend counts, and the longest that it may take, in milliseconds. */
const HEALTH_MS = 2_000;

/** The things that an API serves. */
export interface Served {
  readonly elections: readonly ServedElection[];
  /** The events of all of them. */
  readonly all: EventStream;
  readonly provider: Provider;
  readonly metrics: Metrics;
  /** The names by which it may be asked for; null where no DNS name leads to it, as to a socket. */
  readonly names: ReadonlySet<string> | null;
  /** The token of writes; undefined where nobody may write. */
  readonly token: string | undefined;
}

/** The response of Node, which a reader that is too slow is cut off from. */
interface Bindings {
  readonly outgoing: ServerResponse;
}

type Env = { Bindings: Bindings };
type Ctx = Context<Env>;
type Status = 200 | 400 | 401 | 403 | 404 | 405 | 409 | 413 | 421 | 500 | 503;

const TITLES: Readonly<Record<Status, string>> = {
  200: "OK",
  400: "Bad Request",
  401: "Unauthorized",
  403: "Forbidden",
  404: "Not Found",
  405: "Method Not Allowed",
  409: "Conflict",
  413: "Content Too Large",
  421: "Misdirected Request",
  500: "Internal Server Error",
  503: "Service Unavailable",
};

/** Builds the API. */
export function apiOf({ hono, accepts: { accepts } }: Packages, served: Served): Hono<Env> {
  const { elections, names, metrics } = served;
  const streams = [served.all, ...elections.map(({ events }) => events)];
  const app = new hono.Hono<Env>();
  const isHealthy = healthOf(served.provider);
  app.use("*", async (c, next) => {
    if (names !== null && !mayName(c.req.header("host"), names)) {
      return problem(c, 421, "this host name is not served here; --allow-host NAME allows it");
    }
    await next();
    c.header("X-Content-Type-Options", "nosniff");
    c.header("Cross-Origin-Resource-Policy", "same-origin");
    c.header("Referrer-Policy", "no-referrer");
    if (!c.res.headers.has("Cache-Control")) c.header("Cache-Control", "no-store");
    if (!c.res.headers.has("Content-Security-Policy")) c.header("Content-Security-Policy", "default-src 'none'");
    return;
  });
  app.onError((error, c) => problem(c, 500, redact(error.message)));
  app.notFound((c) => problem(c, 404, "there is no such path; /openapi.json describes those that are there"));

  /** Finds the election of a request, by the path, the query, or since there is but one. */
  const find = (name: string | undefined): ServedElection | undefined =>
    name === undefined ? elections[0] : elections.find(({ election }) => election.electionGroup === name);
  /** Returns which media type a request prefers; the first where it has no preference. */
  const preferred = (c: Ctx, first: string, second: string) =>
    accepts(c, { header: "Accept", supports: [first, second], default: first });
  const unknown = (c: Ctx) => problem(c, 404, "no such election is served here");

  const stream = (c: Ctx, events: EventStream, states: () => readonly EventData[]) => {
    const open = streams.reduce((sum, { readers }) => sum + readers, 0);
    if (open >= MAX_STREAMS) return problem(c, 503, `${MAX_STREAMS} streams are open already`);
    const headers = { "Content-Type": "text/event-stream", "X-Accel-Buffering": "no" };
    if (c.req.method === "HEAD") return c.body(null, 200, headers);
    const { outgoing } = c.env;
    return c.body(events.open(c.req.header("last-event-id"), states, () => void outgoing.destroy()), 200, headers);
  };

  app.get("/", async (c) => {
    if (preferred(c, "application/json", "text/html") === "text/html") {
      c.header("Content-Security-Policy", CONTENT_SECURITY_POLICY);
      return c.html(PAGE);
    }
    const found = find(c.req.query("group"));
    if (found === undefined) return unknown(c);
    await found.refresh();
    return answer(c, 200, { name: found.leader?.leaderId ?? "" });
  });
  app.get("/v1/elections", async (c) => {
    await Promise.all(elections.map((each) => each.refresh()));
    return answer(c, 200, { elections: elections.map(({ state }) => state) });
  });
  app.get("/v1/elections/:group", async (c) => {
    const found = find(c.req.param("group"));
    if (found === undefined) return unknown(c);
    await found.refresh();
    return answer(c, 200, found.state);
  });
  app.get("/v1/elections/:group/changes", (c) => {
    const found = find(c.req.param("group"));
    if (found === undefined) return unknown(c);
    return stream(c, found.events, () => [found.state]);
  });
  app.get("/v1/changes", (c) => stream(c, served.all, () => elections.map(({ state }) => state)));
  app.post("/v1/elections/:group/release", (c) => release(c, served, find(c.req.param("group"))));

  const probe = (path: string, why: (found: readonly ServedElection[]) => string | null | Promise<string | null>) =>
    app.get(path, async (c) => {
      const name = c.req.query("group");
      const found = name === undefined ? elections : elections.filter((each) => each.election.electionGroup === name);
      if (found.length === 0) return unknown(c);
      const reason = await why(found);
      return answer(c, reason === null ? 200 : 503, {
        status: reason === null ? "ok" : "unavailable",
        detail: reason ?? found.map(({ election }) => election.electionGroup).join(", "),
      });
    });
  const firstThat = (found: readonly ServedElection[], isNot: (each: ServedElection) => boolean, why: string) => {
    const wrong = found.find(isNot);
    return wrong === undefined ? null : `${why} ${wrong.election.electionGroup}`;
  };
  probe("/healthz", () => isHealthy());
  probe("/readyz", (found) => firstThat(found, (each) => !each.isReady, "not yet, or not any more, part of"));
  probe(
    "/leaderz",
    (found) => firstThat(found, ({ election }) => !election.isLeader, "this participant does not lead"),
  );
  app.get("/metrics", async (c) => {
    const format = preferred(c, "text/plain", "application/openmetrics-text");
    const { text, type } = await metrics.text(format === "text/plain" ? "plain" : "open");
    return c.body(text, 200, { "Content-Type": type });
  });
  app.get("/openapi.json", (c) => answer(c, 200, OPENAPI));
  for (const { path, method } of app.routes.filter(({ method }) => method === "GET" || method === "POST")) {
    app.all(
      path,
      (c) => problem(c, 405, "another method is needed", { Allow: method === "GET" ? "GET, HEAD" : method }),
    );
  }
  return app;
}

async function release(c: Ctx, { token }: Served, found: ServedElection | undefined): Promise<Response> {
  // A client that may not write does not learn which elections there are.
  if (token === undefined) return problem(c, 403, "no token is set up: --token-file PATH, or ELECT_SERVE_TOKEN");
  if (!isAuthorised(c.req.header("authorization"), token)) {
    return problem(c, 401, "the bearer token is missing or wrong", { "WWW-Authenticate": "Bearer" });
  }
  if (found === undefined) return problem(c, 404, "no such election is served here");
  let cooldown: Duration | undefined;
  try {
    const body = await readBody(c.req.raw);
    if (body === null) return problem(c, 413, `a body has at most ${MAX_BODY} bytes`);
    cooldown = cooldownOf(body);
  } catch (error) {
    return problem(c, 400, error instanceof Error ? error.message : "the body is malformed");
  }
  const { election } = found;
  const { term } = election;
  if (term === null) return problem(c, 409, "this participant does not lead");
  await election.releaseLeadership(cooldown === undefined ? {} : { cooldown });
  return answer(c, 200, { released: true, token: term.token });
}

/** Reads a body; null if it is too large, and then no more of it than shows that. */
async function readBody(request: Request): Promise<string | null> {
  const decoder = new TextDecoder();
  let [text, size] = ["", 0];
  for await (const chunk of request.body ?? []) {
    size += chunk.byteLength;
    if (size > MAX_BODY) return null;
    text += decoder.decode(chunk, { stream: true });
  }
  return text + decoder.decode();
}

function cooldownOf(body: string): Duration | undefined {
  if (body === "") return undefined;
  const value: unknown = JSON.parse(body);
  const isObject = typeof value === "object" && value !== null && !Array.isArray(value);
  if (!isObject || Object.keys(value).some((key) => key !== "cooldown")) {
    throw new TypeError("Cannot use the body: it must be an object with nothing but a cooldown");
  }
  const { cooldown } = value as { cooldown?: unknown };
  if (cooldown === undefined) return undefined;
  return parseDuration(cooldown as Duration, "cooldown");
}

/** Returns a check of the backend that asks it no more often than makes sense. It has what is wrong, or null. */
function healthOf(provider: Provider): () => Promise<string | null> {
  let last: { readonly until: number; readonly answer: Promise<string | null> } | null = null;
  return () => {
    const now = Number(process.hrtime.bigint() / 1_000_000n);
    if (last !== null && now < last.until) return last.answer;
    const answer = provider.healthCheck({ signal: AbortSignal.timeout(HEALTH_MS) })
      .then(() => null, (error) => `the backend: ${redact(error instanceof Error ? error.message : String(error))}`);
    last = { until: now + HEALTH_MS, answer };
    return answer;
  };
}

function answer(c: Ctx, status: Status, data: Readonly<Record<string, unknown>>): Response {
  return c.body(toJson(data), status, { "Content-Type": "application/json" });
}

/** An error as RFC 9457 has it. */
function problem(c: Ctx, status: Status, detail: string, headers: Readonly<Record<string, string>> = {}): Response {
  const body = toJson({ type: "about:blank", title: TITLES[status], status, detail });
  return c.body(body, status, { ...headers, "Content-Type": "application/problem+json" });
}
