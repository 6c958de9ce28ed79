/**
 * Lets those under one token in at a time.
 *
 * @module
 */

/** The callers who are in, and those who wait, at one resource. */
interface Place {
  readonly inside: Map<bigint, number>;
  readonly waiting: { readonly token: bigint; readonly enter: () => void }[];
}

/**
 * One turnstile for all resources.
 *
 * Why a handler that was admitted is done before a higher token is: whoever enters has the place to those of the same
 * token until all of them have left, and asks the fence only after it has entered. Those of the highest token that
 * waits come next, so that nobody of a lower one keeps them out by coming again and again; the lower ones, let in after
 * them, are refused by the fence.
 */
export class Turnstile {
  readonly #places = new Map<string, Place>();

  /** Resolves with what is to be called on leaving, as soon as nobody of another token is inside. */
  async enter(resource: string, token: bigint): Promise<() => void> {
    let place = this.#places.get(resource);
    if (place === undefined) this.#places.set(resource, place = { inside: new Map(), waiting: [] });
    const mine = place;
    await new Promise<void>((enter) => {
      mine.waiting.push({ token, enter });
      this.#admit(mine);
    });
    let hasLeft = false;
    return () => {
      if (hasLeft) return;
      hasLeft = true;
      const left = (mine.inside.get(token) ?? 1) - 1;
      if (left > 0) mine.inside.set(token, left);
      else mine.inside.delete(token);
      this.#admit(mine);
      if (mine.inside.size === 0 && mine.waiting.length === 0) this.#places.delete(resource);
    };
  }

  /** Lets in those of the highest token that waits, unless somebody of another one is inside. */
  #admit({ inside, waiting }: Place): void {
    const highest = waiting.reduce((most, { token }) => (token > most ? token : most), -1n);
    if (inside.size > 0 && !inside.has(highest)) return;
    for (let i = 0; i < waiting.length;) {
      if (waiting[i]?.token !== highest) {
        i++;
        continue;
      }
      inside.set(highest, (inside.get(highest) ?? 0) + 1);
      waiting.splice(i, 1)[0]?.enter();
    }
  }
}
