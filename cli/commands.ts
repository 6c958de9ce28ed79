/**
 * The table of commands, which parsing, help, completions and manual read.
 *
 * @module
 */

import type { Command } from "./args.ts";
import { benchCommand } from "./commands/bench.ts";
import { checkCommand } from "./commands/check.ts";
import { completionsOf } from "./commands/completions.ts";
import { demoCommand } from "./commands/demo.ts";
import { evictCommand } from "./commands/evict.ts";
import { groupsCommand } from "./commands/groups.ts";
import { leaderCommand } from "./commands/leader.ts";
import { manualOf } from "./commands/manual.ts";
import { providersCommand } from "./commands/providers.ts";
import { runCommand } from "./commands/run.ts";
import { serveCommand } from "./commands/serve.ts";
import { transferCommand } from "./commands/transfer.ts";
import { watchCommand } from "./commands/watch.ts";

/** The commands, in the order of the help. */
export const COMMANDS: readonly Command[] = [
  runCommand,
  serveCommand,
  watchCommand,
  leaderCommand,
  groupsCommand,
  transferCommand,
  evictCommand,
  checkCommand,
  demoCommand,
  benchCommand,
  providersCommand,
  completionsOf(() => COMMANDS),
  manualOf(() => COMMANDS),
];
