/** Participants through Apache Curator, in Java processes of their own. */

import assert from "node:assert/strict";
import { aptInstall, findProgram, run } from "../../servers/process.ts";

const JARS = [
  ...["curator-recipes", "curator-framework", "curator-client", "zookeeper", "zookeeper-jute"],
  ...["guava", "slf4j-api", "slf4j-nop"],
].map((name) => `/usr/share/java/${name}.jar`);
const SOURCE = new URL("./CuratorParticipant.java", import.meta.url).pathname;

/** A process that takes part through Curator. */
export interface Curator extends AsyncDisposable {
  join(group: string, id: string): Promise<void>;
  /** Joins, and waits until it leads. */
  lead(group: string, id: string): Promise<void>;
  leave(): Promise<void>;
  /** Whether it leads, as Curator sees it. */
  leads(): Promise<boolean>;
  /** Who leads, as Curator sees it. */
  who(): Promise<string>;
  /** Ends it without a farewell. */
  kill(): Promise<void>;
}

/** Installs Curator, from Debian, where it is not. */
export async function installCurator(): Promise<void> {
  if (!(await hasCurator())) await aptInstall("libcurator-recipes-java", "libslf4j-java", "default-jdk-headless");
}

/** Compiles the program of {@linkcode startCurator} into a directory. */
export async function compileCurator(classes: string): Promise<void> {
  await run("javac", ["-cp", JARS.join(":"), "-d", classes, SOURCE]);
}

async function hasCurator(): Promise<boolean> {
  const jars = await Promise.all(JARS.map((jar) => Deno.stat(jar).then(() => true, () => false)));
  return jars.every((there) => there) && await findProgram("javac") !== null;
}

/** Starts a process whose program is in the directory `classes`. */
export function startCurator(classes: string, url: string): Curator {
  const { host } = new URL(url.replace("zookeeper:", "http:"));
  const child = new Deno.Command("java", {
    args: [
      "-Xmx64m",
      "-XX:+UseSerialGC",
      "-XX:TieredStopAtLevel=1",
      "-cp",
      [classes, ...JARS].join(":"),
      "CuratorParticipant",
      host,
    ],
    stdin: "piped",
    stdout: "piped",
    stderr: "null",
  }).spawn();
  const input = child.stdin.getWriter();
  const output = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
  const ask = async (line: string) => {
    await input.write(new TextEncoder().encode(`${line}\n`));
    let answer = "";
    while (!answer.endsWith("\n")) {
      const { value, done } = await output.read();
      assert.ok(!done, `the Curator process ended, when it was asked to ${line}`);
      answer += value;
    }
    return answer.trim();
  };
  const kill = async () => {
    await input.abort().catch(() => {});
    try {
      child.kill("SIGKILL");
    } catch {
      // It has ended already.
    }
    await output.cancel().catch(() => {});
    await child.status;
  };
  return {
    join: async (group, id) => assert.equal(await ask(`join /elections/${group} ${id}`), "joined"),
    lead: async (group, id) => assert.equal(await ask(`lead /elections/${group} ${id}`), "leads"),
    leave: async () => assert.equal(await ask("leave"), "left"),
    leads: async () => await ask("leads") === "true",
    who: () => ask("who"),
    kill,
    [Symbol.asyncDispose]: kill,
  };
}
