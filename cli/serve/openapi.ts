/**
 * The description of the HTTP API, in OpenAPI 3.1; a test holds real answers against it.
 *
 * @module
 */

import { VERSION } from "../version.ts";

type Schema = Readonly<Record<string, unknown>>;

const text: Schema = { type: "string" };
const time: Schema = { type: "string", format: "date-time" };
const token: Schema = { type: "string", pattern: "^[0-9]+$", description: "A fencing token, in decimal digits." };
const milliseconds: Schema = { type: "number", minimum: 0 };
const orNull = (schema: Schema): Schema => ({ anyOf: [schema, { type: "null" }] });
const object = (properties: Readonly<Record<string, Schema>>): Schema => ({
  type: "object",
  properties,
  required: Object.keys(properties),
  additionalProperties: false,
});
const ref = (name: string): Schema => ({ $ref: `#/components/schemas/${name}` });
const json = (description: string, schema: Schema) => ({ description, content: { "application/json": { schema } } });
const problem = (description: string) => ({
  description,
  content: { "application/problem+json": { schema: ref("Problem") } },
});

const SCHEMAS = {
  Leader: object({
    leaderId: text,
    termId: text,
    token,
    since: time,
    lastHeartbeat: orNull(time),
    deadline: orNull(time),
    expiresInMs: orNull(milliseconds),
    metadata: { type: "object", additionalProperties: text },
  }),
  SeenTerm: object({
    leaderId: text,
    termId: text,
    token,
    since: time,
    until: orNull(time),
    reason: orNull({ enum: ["expired", "lost", "released", "stopped", "unhealthy", "ended"] }),
  }),
  Election: object({
    electionGroup: text,
    participantId: orNull(text),
    role: { enum: ["leader", "follower", "observer", "stopped"] },
    provider: text,
    leader: orNull(ref("Leader")),
    term: orNull(object({ token, since: time, remainingMs: milliseconds })),
    heartbeatTimeoutMs: milliseconds,
    validForMs: milliseconds,
    terms: { type: "array", items: ref("SeenTerm"), description: "The terms that were seen, the last one first." },
    participants: { type: "array", items: object({ participantId: text, lastSeen: time }) },
    backend: object({ ok: { type: "boolean" }, error: orNull(object({ at: time, message: text })) }),
    now: time,
  }),
  Health: object({ status: { enum: ["ok", "unavailable"] }, detail: text }),
  Problem: object({ type: text, title: text, status: { type: "integer" }, detail: text }),
};

const group = { name: "group", in: "path", required: true, schema: { type: "string" } };
const one = { name: "group", in: "query", required: false, schema: { type: "string" } };
const notFound = problem("No such election is served.");
const health = (summary: string) => ({
  get: {
    summary,
    parameters: [one],
    responses: {
      200: json("Yes.", ref("Health")),
      404: notFound,
      503: json("No; `detail` says why.", ref("Health")),
    },
  },
});

/** The description. */
export const OPENAPI = {
  openapi: "3.1.0",
  info: {
    title: "elect serve",
    version: VERSION,
    description: "Leader election for any program on this host. Errors are problem+json (RFC 9457).",
    license: { name: "MIT", identifier: "MIT" },
  },
  paths: {
    "/": {
      get: {
        summary:
          "The page; for whoever does not ask for HTML, the leader's name, as Kubernetes' leader-elector had it.",
        parameters: [one],
        responses: {
          200: {
            description: "The page, or the name: empty while nobody leads.",
            content: { "application/json": { schema: object({ name: text }) }, "text/html": { schema: text } },
          },
          404: notFound,
        },
      },
    },
    "/v1/elections": {
      get: {
        summary: "All elections that are served.",
        responses: { 200: json("They are.", object({ elections: { type: "array", items: ref("Election") } })) },
      },
    },
    "/v1/elections/{group}": {
      get: {
        summary: "One election.",
        parameters: [group],
        responses: { 200: json("It is.", ref("Election")), 404: notFound },
      },
    },
    "/v1/elections/{group}/changes": {
      get: {
        summary: "Every change as a server-sent event.",
        description:
          "`change` has an id to resume from, and `state` comes first; both have the election. `lease` tells " +
          "of a deadline that moved. `reset` precedes `state` where events in between are lost, `bye` ends the stream.",
        parameters: [group, { name: "Last-Event-ID", in: "header", required: false, schema: { type: "string" } }],
        responses: {
          200: { description: "The events.", content: { "text/event-stream": { schema: text } } },
          404: notFound,
          503: problem("Too many streams are open."),
        },
      },
    },
    "/v1/changes": {
      get: {
        summary: "The changes of all elections that are served, in one stream.",
        parameters: [{ name: "Last-Event-ID", in: "header", required: false, schema: { type: "string" } }],
        responses: {
          200: { description: "The events.", content: { "text/event-stream": { schema: text } } },
          503: problem("Too many streams are open."),
        },
      },
    },
    "/v1/elections/{group}/release": {
      post: {
        summary: "Steps down, and stays a participant.",
        security: [{ bearer: [] }],
        parameters: [group],
        requestBody: {
          required: false,
          content: {
            "application/json": {
              schema: {
                type: "object",
                properties: { cooldown: { type: ["string", "number"], description: "How long not to campaign." } },
                additionalProperties: false,
              },
            },
          },
        },
        responses: {
          200: json("It led, and does not any more.", object({ released: { const: true }, token })),
          400: problem("The body is malformed."),
          401: problem("The token is missing or wrong."),
          403: problem("No token is set up, so that nobody may write."),
          404: notFound,
          409: problem("It does not lead."),
          413: problem("The body is too large."),
        },
      },
    },
    "/healthz": health("Whether the process lives and its backend answers."),
    "/readyz": health("Whether the first look has come to an end and it is not about to stop."),
    "/leaderz": health("Whether this participant leads: for load balancers and readiness probes."),
    "/metrics": {
      get: {
        summary: "Metrics in Prometheus' text format, or in OpenMetrics where Accept asks for it.",
        responses: {
          200: {
            description: "They are.",
            content: { "text/plain": { schema: text }, "application/openmetrics-text": { schema: text } },
          },
        },
      },
    },
    "/openapi.json": {
      get: {
        summary: "This description.",
        responses: { 200: json("It is.", { type: "object" }) },
      },
    },
  },
  components: { schemas: SCHEMAS, securitySchemes: { bearer: { type: "http", scheme: "bearer" } } },
} as const;
