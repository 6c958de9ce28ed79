import { test } from "node:test";
import { consulProvider } from "../../providers/consul.ts";
import { conformanceCases } from "../../testing/conformance.ts";
import { backend } from "../servers/backend.ts";

const consul = backend("consul");

if (consul !== null) {
  const open = ({ clock } = {} as { clock?: import("../../src/clock.ts").Clock }) => consulProvider({ url: consul.url, ...(clock && { clock }) });
  for (const { name, run } of conformanceCases({ name: "consul", open, faults: consul.faults })) test(name, run);
}
