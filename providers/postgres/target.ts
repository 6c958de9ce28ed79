/**
 * The URL of a PostgreSQL server: its own parameters and the provider's.
 *
 * @module
 */

/** A URL, taken apart. */
export interface Target {
  /** For the driver. */
  readonly connectionString: string;
  /** For the provider, each as its option takes it. */
  readonly parameters: Readonly<Record<string, string | number | boolean>>;
}

const TEXTS = ["schema", "table", "statementTimeout"] as const;
const FLAGS = ["autoCreate", "prepare", "listen"] as const;

/**
 * Takes the provider's parameters out of `url`; the rest is for `pg`, which has its own idea of what a URL may look like.
 *
 * @throws {TypeError} if a parameter that must be true or false is neither
 */
export function splitUrl(url: string): Target {
  const [base = "", query = ""] = url.split(/\?(.*)/s, 2);
  const search = new URLSearchParams(query);
  const parameters: Record<string, string | number | boolean> = {};
  const take = (name: string, parse: (text: string) => string | number | boolean) => {
    const text = search.get(name);
    if (text !== null) parameters[name] = parse(text);
    search.delete(name);
  };
  for (const name of TEXTS) take(name, String);
  for (const name of FLAGS) {
    take(name, (text) => {
      if (text === "true" || text === "false") return text === "true";
      throw new TypeError(`Cannot use parameter "${name}": it must be true or false, is "${text}"`);
    });
  }
  take("poolSize", Number);
  return { connectionString: search.size > 0 ? `${base}?${search}` : base, parameters };
}
