/**
 * Elections as lines of a terminal: who leads each, and a lease that drains.
 *
 * @module
 */

import type { LeaderInfo } from "../mod.ts";
import { printable } from "./output.ts";

/** The contents of a line. */
export interface ChartRow {
  readonly group: string;
  /** The leader, with what is left of its lease by now. */
  readonly leader: LeaderInfo | null;
  /** The lifetime of a lease, in milliseconds. */
  readonly leaseMs: number;
  /** For how long the term has lasted, in milliseconds. */
  readonly termMs: number;
  /** The failure of the last question; undefined if it did not fail. */
  readonly error: string | undefined;
}

/** The blocks of the bar, and what stands where it has drained. */
const [FULL, EMPTY] = ["\u2588", "\u2591"];
/** The widest bar, and the narrowest that says anything, in columns. */
const [WIDEST, NARROWEST] = [40, 8];

/** Returns one line for each row, none wider than `columns`. */
export function drawChart(rows: readonly ChartRow[], columns: number): string[] {
  const cells = rows.map((row) => ({ row, group: printable(row.group), leader: leaderOf(row), tail: tailOf(row) }));
  const width = (of: (cell: typeof cells[number]) => string) => Math.max(0, ...cells.map((cell) => of(cell).length));
  const [group, leader, tail] = [width((cell) => cell.group), width((cell) => cell.leader), width((cell) => cell.tail)];
  const room = Math.min(WIDEST, columns - group - leader - tail - 6);
  return cells.map((cell) => {
    const head = `${cell.group.padEnd(group)}  ${cell.leader.padEnd(leader)}`;
    const bar = room < NARROWEST ? "" : `  ${barOf(cell.row, room)}`;
    return `${head}${bar}  ${cell.tail}`.trimEnd().slice(0, Math.max(1, columns));
  });
}

function leaderOf({ leader }: ChartRow): string {
  return leader === null ? "nobody leads" : `${printable(leader.leaderId)} (${leader.token})`;
}

function tailOf({ leader, termMs, error }: ChartRow): string {
  if (error !== undefined) return printable(error);
  if (leader === null) return "";
  const left = leader.expiresIn === null ? "" : `${(leader.expiresIn / 1_000).toFixed(1).padStart(5)} s left, `;
  return `${left}in term for ${span(termMs)}`;
}

/** A lease whose end only the backend knows has no bar. */
function barOf({ leader, leaseMs }: ChartRow, room: number): string {
  if (leader === null) return EMPTY.repeat(room);
  if (leader.expiresIn === null) return " ".repeat(room);
  const full = Math.round(Math.min(1, Math.max(0, leader.expiresIn / leaseMs)) * room);
  return FULL.repeat(full) + EMPTY.repeat(room - full);
}

function span(ms: number): string {
  const seconds = Math.max(0, Math.floor(ms / 1_000));
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3_600) return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
  return `${Math.floor(seconds / 3_600)} h ${Math.floor(seconds / 60) % 60} min`;
}
