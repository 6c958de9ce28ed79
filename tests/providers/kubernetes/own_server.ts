/** An API server of a test file's own, for what the user of the shared one may not do. */

import { after } from "node:test";
import { backend } from "../../servers/backend.ts";
import { type KubernetesServer, startKubernetes } from "../../servers/kubernetes.ts";
import { builtPrograms } from "../../servers/kubernetes_build.ts";

/**
 * Returns what starts the server, once, with `args` beside its usual ones, and ends it after the last test; null where
 * the backend is not tested, or its server comes from elsewhere.
 */
export async function ownServer(args: readonly string[] = []): Promise<(() => Promise<KubernetesServer>) | null> {
  if (backend("kubernetes") === null || await builtPrograms() === null) return null;
  let starting: Promise<KubernetesServer> | null = null;
  after(async () => await (await starting)?.stop());
  return () => starting ??= startKubernetes(args);
}

/** Returns the URL of the server for a user of it, by the file with the user's token. */
export function urlFor(server: KubernetesServer, tokenFile: string): string {
  return server.url.replace(/token=[^&]+/, `token=${tokenFile}`);
}
