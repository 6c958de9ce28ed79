/** Metrics that were scraped, as series that promtool evaluates rules on. */

/** Scrapes of some instances, one after the other. */
export class Recording {
  /** The values of each series; undefined where a scrape did not have it. */
  readonly #series = new Map<string, (string | undefined)[]>();
  #scrapes = 0;

  /** Scrapes each instance, and takes that as what the next `times` scrapes have as well. One without a URL is down. */
  async scrape(instances: Readonly<Record<string, string | null>>, times = 1): Promise<void> {
    const values = new Map<string, string>();
    for (const [instance, url] of Object.entries(instances)) {
      const text = url === null ? "" : await (await fetch(`${url}/metrics`)).text();
      for (const [, name = "", labels = "", value = ""] of text.matchAll(/^(multilock_\w+)\{(.*)\} (\S+)$/gm)) {
        values.set(`${name}{${labels},instance="${instance}"}`, value);
      }
    }
    for (const [name, value] of values) {
      const known = this.#series.get(name) ?? Array.from({ length: this.#scrapes }, () => undefined);
      this.#series.set(name, known);
      for (let each = 0; each < times; each++) known.push(value);
    }
    this.#scrapes += times;
    for (const known of this.#series.values()) while (known.length < this.#scrapes) known.push(undefined);
  }

  /** The seconds from the first scrape to the last, at one scrape in `intervalS`. */
  lasts(intervalS: number): number {
    return (this.#scrapes - 1) * intervalS;
  }

  /** The series as tests of promtool have them. A series that is missing from a scrape is stale from then on. */
  get series(): { series: string; values: string }[] {
    return [...this.#series].map(([series, values]) => ({
      series,
      values: values.map((value, at) => value ?? (values[at - 1] === undefined ? "_" : "stale")).join(" "),
    }));
  }
}
