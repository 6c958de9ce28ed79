/**
 * Connection strings as ADO.NET writes them: `Server=host,1433;User Id=me;Password="a;b""c"`.
 *
 * @module
 */

/** One `keyword=value` of a connection string, without the blanks and quotes around it. */
export interface ConnectionPair {
  /** The keyword as it was written. Its case means nothing. */
  readonly keyword: string;
  /** The value. */
  readonly value: string;
}

/** A keyword up to its `=`; two of them stand for one that belongs to the keyword. */
const KEYWORD = /\s*((?:[^=;]|==)*?)\s*=(?!=)/y;
/** A value in quotes, in which the quote itself is written twice, or one that ends at a semicolon. */
const VALUE = /\s*(?:"((?:[^"]|"")*)"|'((?:[^']|'')*)'|((?!\s*["'])[^;]*))\s*(?:;|$)/y;
const EMPTY = /[\s;]+/y;

/**
 * Takes a connection string apart by the rules of ADO.NET. Pairs come in the order in which they stand: of two with one
 * keyword the last counts.
 *
 * @throws {TypeError} if a keyword has no `=`, or a quote no end. The message tells nothing of the string
 */
export function parseConnectionString(text: string): ConnectionPair[] {
  const pairs: ConnectionPair[] = [];
  let at = 0;
  function take(pattern: RegExp): RegExpExecArray | null {
    pattern.lastIndex = at;
    const match = pattern.exec(text);
    if (match !== null) at = pattern.lastIndex;
    return match;
  }
  for (;;) {
    take(EMPTY);
    if (at >= text.length) return pairs;
    const keyword = take(KEYWORD)?.[1]?.replaceAll("==", "=");
    if (!keyword) throw new TypeError(`a keyword and "=" must stand at character ${at + 1}`);
    const value = take(VALUE);
    if (value === null) throw new TypeError(`the value of "${keyword}" must end with its quote and a semicolon`);
    const [, double, single, plain = ""] = value;
    pairs.push({ keyword, value: double?.replaceAll('""', '"') ?? single?.replaceAll("''", "'") ?? plain.trim() });
  }
}

/** Returns a keyword as those compare that mean the same: `User ID`, `userId` and `USER_ID` are one. */
export function foldKeyword(keyword: string): string {
  return keyword.replace(/[\s_-]/g, "").toLowerCase();
}
