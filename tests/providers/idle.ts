/** The cost of waiting, and of leading, while nothing happens: counted on the way to the server. */

import assert from "node:assert/strict";
import { connect, createServer } from "node:net";
import { LeaderElection, type Provider } from "../../mod.ts";
import { sleep, systemClock } from "../../src/time/clock.ts";
import { addressesIn } from "../permissions.ts";
import { until } from "../until.ts";

const TIMING = { heartbeatTimeout: 3_000, heartbeatInterval: 1_000, requestTimeout: 500, logger: null };
/** Until what begins a term and a wait is over, and how long is counted, in milliseconds. */
const SETTLE_MS = 2_500;
const COUNTED_MS = 20_000;

/** A way to a server on which the pieces that a client sends are counted: a request or a ping is one of them. */
class CountedWay {
  count = 0;
  readonly #server = createServer();

  async open(address: string): Promise<string> {
    const [host = "127.0.0.1", port] = address.split(":");
    this.#server.on("connection", (client) => {
      const server = connect({ host, port: Number(port), noDelay: true });
      client.setNoDelay(true);
      client.on("data", (piece) => (this.count++, server.write(piece)));
      server.on("data", (piece) => client.write(piece));
      for (const [from, to] of [[client, server], [server, client]] as const) {
        from.on("error", () => to.destroy());
        from.on("close", () => to.destroy());
      }
    });
    await new Promise<void>((resolve) => this.#server.listen(0, "127.0.0.1", resolve));
    const bound = this.#server.address();
    return `127.0.0.1:${typeof bound === "object" ? bound?.port : ""}`;
  }

  close(): void {
    this.#server.close();
  }
}

/**
 * Lets one lead and one wait for 20 s, with a lease of 3 s, each by a provider of its own and by a way of its own to
 * the server of `url`; checks that a leader sends at most 60 commands a minute and a follower at most 12, or as many as
 * are given, and that the follower knows the leader meanwhile.
 */
export async function checkIdle(
  url: string,
  open: (url: string) => Provider | Promise<Provider>,
  { leader: mostOfLeader = 60, follower: mostOfFollower = 12 } = {},
): Promise<void> {
  const [address] = addressesIn(url);
  assert(address !== undefined);
  const electionGroup = `idle-${crypto.randomUUID()}`;
  const ways = [new CountedWay(), new CountedWay()];
  const urls = await Promise.all(ways.map(async (way) => url.replace(address, await way.open(address))));
  const providers = await Promise.all(urls.map(open));
  const elections = providers.map((provider) => new LeaderElection(provider, { electionGroup, ...TIMING }));
  const [leader, follower] = elections;
  assert(leader !== undefined && follower !== undefined);
  for (const election of elections) await election.start();
  const knows = () => follower.status.currentLeader?.leaderId === leader.participantId;
  await until("the follower knows the leader", knows);
  await sleep(systemClock, SETTLE_MS);
  const before = ways.map(({ count }) => count);
  const start = performance.now();
  let [samples, ignorant] = [0, 0];
  while (performance.now() - start < COUNTED_MS) {
    await sleep(systemClock, 100);
    samples++;
    if (!knows()) ignorant++;
  }
  const minutes = (performance.now() - start) / 60_000;
  const [led, waited] = ways.map(({ count }, index) => count - (before[index] ?? 0));
  await Promise.all(elections.map((election) => election.stop()));
  await Promise.all(providers.map((provider) => provider[Symbol.asyncDispose]()));
  for (const way of ways) way.close();
  const found = `${led} commands of the leader, ${waited} of the follower in ${Math.round(minutes * 60)} s`;
  // One more than the rate, which may be of several commands at once: the time that is counted may begin just before.
  const most = (rate: number) => rate * minutes + Math.ceil(rate / 30);
  assert(Number(led) <= most(mostOfLeader) && Number(waited) <= most(mostOfFollower), found);
  // A machine that stands still for seconds may make it.
  assert(ignorant <= samples / 10, `the follower lost sight of the leader ${ignorant} times of ${samples}`);
}
