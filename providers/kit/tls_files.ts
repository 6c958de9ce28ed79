/**
 * Certificates in files, for backends that are reached by TLS: `?ca=FILE&cert=FILE&key=FILE` in a URL.
 *
 * @module
 */

import { readFile } from "node:fs/promises";
import { permanently } from "../../src/call.ts";

/** The settings of a URL that name the files. They go into `readParameters` as they are. */
export const TLS_PARAMETERS = { ca: "text", cert: "text", key: "text", servername: "text" } as const;

/** The settings of a URL for TLS: paths of PEM files. */
export interface TlsFiles {
  /** The certificate authorities to trust instead of the runtime's. */
  readonly ca?: string;
  /** The client's certificate chain. */
  readonly cert?: string;
  /** The client's private key. */
  readonly key?: string;
  /** The name that the server's certificate must have. @default the host of the URL */
  readonly servername?: string;
}

/** The settings of TLS, as `tls.connect` of `node:tls` takes it. */
export interface TlsSettings {
  /** The certificate authorities to trust instead of the runtime's, as PEM. */
  readonly ca?: string;
  /** The client's certificate chain, as PEM. */
  readonly cert?: string;
  /** The client's private key, as PEM. */
  readonly key?: string;
  /** The name that the server's certificate must have. */
  readonly servername?: string;
}

/**
 * Checks the settings for TLS of a URL.
 *
 * @param needed the scheme that they need, for a URL that has another one; null for one that has it
 * @throws {TypeError} of `refuse`, if there are any without that scheme, or a certificate without its key
 */
export function checkTlsSettings(tls: TlsFiles, needed: string | null, refuse: (why: string) => Error): void {
  const [setting] = Object.keys(tls);
  if (needed !== null && setting !== undefined) throw refuse(`the setting "${setting}" needs ${needed}`);
  if ((tls.cert === undefined) !== (tls.key === undefined)) throw refuse("cert and key must be given together");
}

/**
 * Reads the files. Call it for each new connection: certificates are replaced while a process runs.
 *
 * @throws {TypeError} if a certificate comes without its key, or the other way round
 * @throws what the file system says, with the setting and the path
 */
export async function readTlsFiles({ ca, cert, key, servername }: TlsFiles): Promise<TlsSettings> {
  if ((cert === undefined) !== (key === undefined)) {
    throw new TypeError("Cannot use a client certificate: cert and key must be given together");
  }
  const files = await Promise.all(
    Object.entries({ ca, cert, key }).filter(([, path]) => path !== undefined).map(async ([setting, path]) => {
      try {
        return [setting, await readFile(path as string, "utf8")] as const;
      } catch (cause) {
        const why = cause instanceof Error ? cause.message : String(cause);
        throw permanently(new Error(`cannot read the file of setting "${setting}": ${why}`, { cause }));
      }
    }),
  );
  return { ...Object.fromEntries(files), ...(servername !== undefined && { servername }) };
}
