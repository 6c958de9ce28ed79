/** Bounds of tests that scale with how slow the machine is: see the conformance suite, which has them too. */

export { patience, slowness } from "../testing/conformance/slowness.ts";
