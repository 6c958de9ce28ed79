/**
 * Keeps credentials out of errors and logs.
 *
 * @module
 */

/** Returns a URL or connection string with every password, key, signature and token replaced by `***`. */
export function redact(target: string | URL): string {
  return String(target)
    .replace(/(\/\/[^/?#@:]*):[^/?#]*@/g, "$1:***@")
    .replace(
      /\b(password|pwd|pass|accountkey|sharedaccesssignature|secret|sig|token|auth)=("[^"]*"|'[^']*'|[^;&#\s]*)/gi,
      "$1=***",
    );
}
