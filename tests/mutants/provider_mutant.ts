/**
 * What a list of mutants in `providers/` beside this file is made of. Each exports
 * `MUTANTS: readonly ProviderMutant[]`.
 */

/** One deliberate defect, which tests of this repository must notice. */
export interface ProviderMutant {
  /** What is wrong with it. */
  readonly name: string;
  /** The file that is changed, from the root of the repository. */
  readonly file: string;
  /** The text that is replaced; it must stand in the file exactly once. */
  readonly find: string;
  /** The text that replaces it. */
  readonly replace: string;
  /** The smallest part of the suite that must fail with it, and must not without. */
  readonly test: MutantTest;
}

/** Some tests of one file. */
export interface MutantTest {
  /** The test file, from the root of the repository. */
  readonly file: string;
  /**
   * The tests of the file that run: those whose names contain this text, or, where none does, match it as a regular
   * expression. @default all of them
   */
  readonly filter?: string;
}
