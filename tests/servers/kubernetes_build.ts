/**
 * A kube-apiserver, and an elector of client-go, built from Debian's source package: no package of any release holds
 * the server. Ten minutes of one core, once a machine, at the lowest priority.
 */

import { copyFile, link, mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import { setTimeout as delay } from "node:timers/promises";
import { cacheDirectory, fillCache, unpackDebian, unpackDebianSource } from "./debian.ts";
import { findProgram, removeDirectory, run, temporaryDirectory } from "./process.ts";

/** Changes when what is built does: the cache is named after it. */
const NAME = "kubernetes-1.20.2-1";
/** The release with the source, which is the whole of upstream's tree with its vendored libraries. */
const SOURCE = "bookworm";
/**
 * The release with the compiler of its time. With Go 1.18 and later the server crashes at the first object with a map,
 * by its vendored reflect2 1.0.1.
 */
const COMPILER = "bullseye";
/** How long a compiler may take, in milliseconds: at the lowest priority, beside other tests. */
const LIMIT_MS = 3_600_000;
const ELECTOR = new URL("kubernetes_elector.go", import.meta.url).pathname;

/** The programs, by their paths. */
export interface KubernetesPrograms {
  readonly apiserver: string;
  readonly elector: string;
}

/** Returns the programs, if they have been built. */
export async function builtPrograms(): Promise<KubernetesPrograms | null> {
  const [apiserver, elector] = await Promise.all(
    ["kube-apiserver", "elector"].map((name) => findProgram(join(cacheDirectory(NAME), name))),
  );
  return apiserver && elector ? { apiserver, elector } : null;
}

/**
 * Returns the programs, which are built if need be. Processes that want them at the same time build them once.
 *
 * @throws {Error} if they cannot be built here
 */
export async function kubernetesPrograms(): Promise<KubernetesPrograms> {
  for (;;) {
    const built = await builtPrograms();
    if (built !== null) return built;
    await alone(`${cacheDirectory(NAME)}.lock`, async () => {
      if (await builtPrograms() === null) await fillCache(NAME, build);
    });
  }
}

/** Does `work` while no other process does; returns without, if another one did it meanwhile. */
async function alone(lock: string, work: () => Promise<void>): Promise<void> {
  await mkdir(join(lock, ".."), { recursive: true });
  // Linked into place, it is never seen without the process that holds it.
  const mine = `${lock}.${process.pid}`;
  await writeFile(mine, String(process.pid));
  const isTaken = await link(mine, lock).then(() => false, (error) => {
    if (error.code === "EEXIST") return true;
    throw error;
  }).finally(() => rm(mine));
  if (isTaken) return await ended(lock);
  try {
    await work();
  } finally {
    await rm(lock, { force: true });
  }
}

/** Resolves when whoever holds the lock has given it back, or is dead; then it is taken away. */
async function ended(lock: string): Promise<void> {
  for (;;) {
    const owner = await readFile(lock, "utf8").catch(() => null);
    if (owner === null) return;
    if (!isAlive(Number(owner))) return await rm(lock, { force: true });
    await delay(1_000);
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as { code?: unknown }).code === "EPERM";
  }
}

async function build(directory: string): Promise<void> {
  const scratch = await temporaryDirectory("kubernetes-build");
  try {
    const tree = join(scratch, "path/src/k8s.io/kubernetes");
    await Promise.all([tree, join(scratch, "go")].map((each) => mkdir(each, { recursive: true })));
    await unpackDebian(COMPILER, ["golang-1.15-go", "golang-1.15-src"], join(scratch, "go"));
    await unpackDebianSource(SOURCE, "kubernetes", tree);
    await mkdir(join(tree, "cmd/elector"));
    await copyFile(ELECTOR, join(tree, "cmd/elector/main.go"));
    const root = join(scratch, "go/usr/lib/go-1.15");
    const go = (args: string) =>
      run("nice", ["-n", "19", "sh", "-ec", args], {
        cwd: tree,
        timeout: LIMIT_MS,
        env: {
          // In module mode, the vendored libraries are refused.
          ...{ GOROOT: root, GOPATH: join(scratch, "path"), GOCACHE: join(scratch, "cache"), GO111MODULE: "off" },
          ...{ GOPROXY: "off", CGO_ENABLED: "0", TMPDIR: scratch, PATH: `${root}/bin:${process.env.PATH}` },
        },
      });
    await go(GENERATE);
    await go(`go build -trimpath -ldflags '-s -w' -o '${directory}/' ./cmd/kube-apiserver ./cmd/elector`);
  } finally {
    // Go makes parts of it read-only.
    await run("chmod", ["-R", "u+w", scratch]).catch(() => {});
    await removeDirectory(scratch);
  }
}

/** Makes the one generated file that the tree lacks, by the generator that is among its vendored libraries. */
const GENERATE = `
go build -o ../openapi-gen ./vendor/k8s.io/kube-openapi/cmd/openapi-gen
marked=$(grep -rl --include='*.go' '+k8s:openapi-gen=' pkg cmd plugin staging/src/k8s.io)
directories=$(echo "$marked" | grep -v '_examples\\|/code-generator/\\|sample-apiserver\\|_test.go' | xargs -n1 dirname |
  LC_ALL=C sort -u | sed 's#^staging/src/#vendor/#; s#^#k8s.io/kubernetes/#' | paste -sd,)
../openapi-gen --logtostderr -i "$directories" -p k8s.io/kubernetes/pkg/generated/openapi -O zz_generated.openapi \\
  -h vendor/k8s.io/code-generator/hack/boilerplate.go.txt -r ../violations
`;
