/**
 * Keeps credentials out of errors and logs.
 *
 * @module
 */

/**
 * Returns a URL or connection string with every password, key, signature and token replaced by `***`. A password that should have
 * been percent-encoded and was not, so that the URL is none, is hidden too: rather too much than too little.
 */
export function redact(target: string | URL): string {
  return String(target)
    .replace(
      /\b((?:sentinel)?pass(?:word)?|pwd|accountkey|sharedaccesssignature|secret|sig|token|auth)=("[^"]*"|'[^']*'|[^;&#\s]*)/gi,
      "$1=***",
    )
    .replace(/(\/\/[^/?#@:\s]*):\S*@/g, "$1:***@");
}
