/**
 * The meaning of an account's replication for the durability of leases.
 *
 * @module
 */

import type { Finding, Inspection } from "../../src/provider.ts";
import { systemClock } from "../../src/time/clock.ts";
import { offsetOf } from "../kit/http_date.ts";
import type { AzureContainer } from "./client.ts";

/** Asks for the kind of account. The protocol tells no version, and a signature for one container may not ask. */
export async function inspectAccount(
  container: Pick<AzureContainer, "getAccountInfo">,
  abortSignal: AbortSignal,
): Promise<Inspection> {
  const sent = systemClock.wall();
  const info = await container.getAccountInfo?.({ abortSignal }).catch(() => undefined);
  // The times of leases are those of answers, too, but to a whole second: as an offset they would always be behind.
  const clockOffsetMs = offsetOf(info?.date, sent, systemClock.wall());
  return { version: null, findings: [redundancyOf(info?.skuName)], clockOffsetMs };
}

function redundancyOf(sku: string | undefined): Finding {
  const about = "redundancy";
  if (sku === undefined) {
    const remedy = "az storage account show --query sku.name";
    return { about, level: "warning", text: "unknown: these credentials may not ask for it", remedy };
  }
  if (/GZ?RS$/.test(sku)) {
    const text = `${sku}: regions replicate asynchronously, so a failover of the account can forget the latest leases`;
    return { about, level: "warning", text, remedy: "zone-redundant storage, or resources that check fencing tokens" };
  }
  return { about, level: "ok", text: `${sku}: within its region a write is replicated before it is answered` };
}
