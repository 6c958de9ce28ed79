/**
 * Keeps credentials out of errors and logs.
 *
 * @module
 */

/**
 * Names of credentials, with the blanks that a connection string allows. A value that is hidden already is left alone.
 */
const SECRET =
  String.raw`\b((?:sentinel)?pass\s*(?:word|wd|phrase)?|pwd|account\s*key|shared\s*access\s*(?:signature|key)|` +
  String.raw`(?:client|msi)?[\s_]*secret|sig|(?:access[\s_]*)?token|auth)(\s*=\s*)(?!\s*\*\*\*(?:[;"'&#)\s]|$))`;

/**
 * A value in quotes that may hold the quote twice, or in braces as ODBC has them. One without an end goes on to the
 * end.
 */
const QUOTED = String.raw`"(?:[^"]|"")*(?:"|$)|'(?:[^']|'')*(?:'|$)|\{(?:[^}]|\}\})*(?:\}|$)`;

/**
 * A secret in a connection string: at its beginning, which may be a quote in a message, or after a semicolon. It ends
 * at a semicolon, and what follows that without a "=" belongs to it as well.
 */
const IN_STRING = new RegExp(
  String.raw`((?:^|[;"'(])\s*)${SECRET}(?:${QUOTED})?[^;]*(?:;\s*[^;=\s][^;=]*(?=;|$))*`,
  "gi",
);
/** A secret in the query of a URL, where a semicolon ends nothing. */
const IN_QUERY = new RegExp(String.raw`([?&])${SECRET}[^&#\s]*`, "gi");
/** A secret elsewhere, as in a sentence. */
const ELSEWHERE = new RegExp(String.raw`${SECRET}(?:${QUOTED}|[^;&#\s]*)`, "gi");

/**
 * Returns a URL, a connection string, or a message that has them in it, with every password, key, signature and token
 * replaced by `***`. A password that should have been percent-encoded or quoted and was not is hidden too: rather too
 * much than too little.
 */
export function redact(target: string | URL): string {
  return String(target)
    .replace(IN_STRING, "$1$2$3***")
    .replace(IN_QUERY, "$1$2$3***")
    .replace(ELSEWHERE, "$1$2***")
    .replace(/(\/\/[^/?#@:\s]*):\S*@/g, "$1:***@");
}
