/** The tables of mutants in `docs/proof.md`, one for each list. */

import type { AttackReport } from "./attack.ts";

const PROOF = new URL("../../docs/proof.md", import.meta.url);
const END = "<!-- end of provider mutants -->";

/** Writes the table of the list `name`, in the place of the one that is there. */
export async function writeTable(name: string, reports: readonly AttackReport[]): Promise<void> {
  const text = await Deno.readTextFile(PROOF);
  await Deno.writeTextFile(PROOF, withTable(text, name, reports));
}

/** Returns `text` with the table of the list `name` in it. Lists stand in the order of their names. */
export function withTable(text: string, name: string, reports: readonly AttackReport[]): string {
  const end = text.indexOf(END);
  if (end < 0) throw new Error(`Cannot write the table: ${END} is not in docs/proof.md`);
  const begins = [...text.slice(0, end).matchAll(/^<!-- mutants of ([a-z-]+) -->$/gm)];
  const at = begins.findIndex(([, each = ""]) => each >= name);
  const next = at < 0 ? end : begins[at]?.index ?? end;
  const after = begins[at]?.[1] === name ? begins[at + 1]?.index ?? end : next;
  return `${text.slice(0, next)}${formatTable(name, reports)}\n\n${text.slice(after)}`;
}

function formatTable(name: string, reports: readonly AttackReport[]): string {
  const killed = reports.filter(({ verdict }) => verdict === "killed").length;
  const rows = reports.map(({ mutant, verdict, by }) => {
    const what = verdict === "killed" ? cell(by) : `**${verdict}** ${cell(by)}`.trim();
    return `| ${cell(mutant.name)} | \`${mutant.file}\` | ${what} |`;
  });
  return [
    `<!-- mutants of ${name} -->`,
    "",
    `**${name}**: ${killed} of ${reports.length} killed.`,
    "",
    "| mutant | changed file | noticed by |",
    "|---|---|---|",
    ...rows,
  ].join("\n");
}

function cell(text: string): string {
  const plain = text.replaceAll("&apos;", "'").replaceAll("&quot;", '"').replaceAll("&lt;", "<").replaceAll(
    "&gt;",
    ">",
  );
  return plain.replaceAll("&amp;", "&").replaceAll("|", "\\|").replaceAll("\n", " ");
}
