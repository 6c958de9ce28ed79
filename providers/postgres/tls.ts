/**
 * The settings of encryption: `sslmode` and its companions, with the meanings that `pg` gives them.
 *
 * @module
 */

import { readTlsFiles, type TlsFiles, type TlsSettings } from "../kit/tls_files.ts";

/** The settings of a URL about encryption. */
export interface TlsTarget extends TlsFiles {
  /** `sslmode`, or what `ssl` means as one; undefined: what `PGSSLMODE` says. */
  readonly mode?: string | undefined;
  /** True if `mode` means what it means to libpq, which verifies less. */
  readonly libpq?: boolean;
}

/** The options that `pg` takes. */
type DriverTls = boolean | TlsSettings & { rejectUnauthorized?: boolean; checkServerIdentity?: () => undefined };

const MODES = ["disable", "allow", "prefer", "require", "verify-ca", "verify-full", "no-verify"];
const SSL_FLAGS: Readonly<Record<string, string>> = {
  true: "verify-full",
  1: "verify-full",
  false: "disable",
  0: "disable",
  "no-verify": "no-verify",
};

/**
 * Reads the settings about encryption. `sslrootcert`, `sslcert` and `sslkey` are `ca`, `cert` and `key`.
 *
 * @throws {TypeError} if one is not what it may be
 */
export function tlsTarget(settings: ReadonlyMap<string, string>): TlsTarget {
  const either = (name: string, alias: string) => settings.get(name) ?? settings.get(alias);
  const ssl = settings.get("ssl");
  if (ssl !== undefined && SSL_FLAGS[ssl] === undefined) {
    throw new TypeError(`Cannot use postgres setting "ssl": it must be true, false or no-verify, is "${ssl}"`);
  }
  const ca = either("ca", "sslrootcert");
  const files = {
    ...(ca !== undefined && ca !== "system" && { ca }),
    ...given("cert", either("cert", "sslcert")),
    ...given("key", either("key", "sslkey")),
    ...given("servername", settings.get("servername")),
  };
  const fallback = Object.keys(files).length > 0 || ca !== undefined ? "verify-full" : undefined;
  const mode = settings.get("sslmode") ?? (ssl !== undefined ? SSL_FLAGS[ssl] : fallback);
  if (mode !== undefined && !MODES.includes(mode)) {
    throw new TypeError(`Cannot use postgres setting "sslmode": it must be one of ${MODES.join(", ")}, is "${mode}"`);
  }
  const libpq = settings.get("uselibpqcompat") === "true";
  if (libpq && mode === "verify-ca" && !("ca" in files)) {
    throw new TypeError(
      'Cannot use postgres setting "sslmode=verify-ca": it needs ca, or anybody\'s certificate will do',
    );
  }
  return { mode, libpq, ...files };
}

/**
 * Reads the files, and returns what `pg` takes; undefined leaves it to `PGSSLMODE`. The name to verify is the host that
 * `pg` is told.
 */
export async function readTls(
  { mode, libpq = false, servername: _host, ...files }: TlsTarget,
): Promise<DriverTls | undefined> {
  if (mode === undefined) return undefined;
  if (mode === "disable") return false;
  const settings = await readTlsFiles(files);
  if (mode === "no-verify") return { ...settings, rejectUnauthorized: false };
  if (!libpq || mode === "verify-full") return settings;
  // libpq: a chain is verified from `verify-ca` on, or where there is a CA to verify it with; the name from
  // `verify-full` on.
  if (files.ca === undefined) return { ...settings, rejectUnauthorized: false };
  return { ...settings, checkServerIdentity: () => undefined };
}

function given(name: string, value: string | undefined): Record<string, string> {
  return value === undefined ? {} : { [name]: value };
}
