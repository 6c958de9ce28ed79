/**
 * Where the primary is, as the sentinels say.
 *
 * @module
 */

import { permanently } from "../../src/call.ts";
import { type LinkParts, messageOf, openLink } from "./link.ts";
import { type Address, type Credentials, format } from "./target.ts";

/** The settings of questions to sentinels. */
export interface SentinelSetup {
  readonly sentinels: readonly Address[];
  /** The name of the primary. */
  readonly primary: string;
  readonly credentials: Credentials;
  /** The credentials of the servers, for sentinels that ask for a password when none of their own is known. */
  readonly fallback: Credentials;
  /** Maps an address as the sentinels see it to the one to connect to. */
  readonly translate: (address: Address) => Address;
}

/**
 * Asks all sentinels at the same time, and believes the majority of those that were named. One alone may be cut off
 * from the others with a primary that has been replaced; and one that is silent, as it is when it shares a host with
 * the primary that died, costs no time. Where no majority answers, most of those that do are believed.
 *
 * @throws {Error} if none of them knows the primary; the message says what each said
 */
export async function askSentinels(parts: LinkParts, setup: SentinelSetup): Promise<Address> {
  const votes = new Map<string, { address: Address; count: number }>();
  const failures: unknown[] = [];
  let decide: (address: Address) => void = () => {};
  const majority = new Promise<Address>((resolve) => decide = resolve);
  const all = Promise.all(setup.sentinels.map(async (sentinel) => {
    try {
      const address = await askOne(parts, sentinel, setup);
      const vote = votes.get(format(address)) ?? { address, count: 0 };
      vote.count++;
      votes.set(format(address), vote);
      if (vote.count * 2 > setup.sentinels.length) decide(address);
    } catch (error) {
      failures.push(error);
    }
  }));
  const answered = all.then(() => {
    const [best] = [...votes.values()].sort((a, b) => b.count - a.count);
    if (best !== undefined) return best.address;
    const why = failures.map(messageOf).join("; ");
    throw new Error(`no sentinel tells where "${setup.primary}" is: ${why}`, { cause: new AggregateError(failures) });
  });
  answered.catch(() => {});
  return setup.translate(await Promise.race([majority, answered]));
}

async function askOne(parts: LinkParts, sentinel: Address, setup: SentinelSetup): Promise<Address> {
  const { credentials, fallback, primary } = setup;
  const ask = async (as: Credentials) => {
    const link = await openLink(parts, sentinel, { credentials: as, database: 0, mustBePrimary: false });
    try {
      return await link.send("SENTINEL", "get-master-addr-by-name", primary);
    } finally {
      link.close(null);
    }
  };
  const answer = await ask(credentials).catch((error: unknown) => {
    const isAsked = credentials.password === undefined && /^NOAUTH/.test(messageOf(error));
    if (isAsked && fallback.password !== undefined) return ask(fallback);
    throw error;
  });
  if (!Array.isArray(answer)) throw permanently(new Error(`${format(sentinel)} knows no primary "${primary}"`));
  return { host: String(answer[0]), port: Number(answer[1]) };
}
