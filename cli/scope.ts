/**
 * `using` and `await using` for Node 22, whose syntax has neither.
 *
 * @module
 */

/** Takes a resource into the care of a scope, and returns it. */
export type Use = <R extends Disposable | AsyncDisposable>(resource: R) => R;

/**
 * Runs `body`, and then disposes of all that it has given to `use`, the last first, whether it has failed or not. The
 * first failure is the one that is told.
 */
export async function scoped<T>(body: (use: Use) => Promise<T>): Promise<T> {
  const resources: (Disposable | AsyncDisposable)[] = [];
  const failures: unknown[] = [];
  const result = await body((resource) => {
    resources.push(resource);
    return resource;
  }).catch((error: unknown) => void failures.push(error));
  for (const resource of resources.reverse()) {
    try {
      if (Symbol.asyncDispose in resource) await resource[Symbol.asyncDispose]();
      else resource[Symbol.dispose]();
    } catch (error) {
      failures.push(error);
    }
  }
  if (failures.length > 0) throw failures[0];
  return result as T;
}
