/** The Kubernetes provider against a real API server that has too much to do, and one that has forgotten much. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { kubernetesProvider } from "../../providers/kubernetes.ts";
import { ProviderError } from "../../src/errors.ts";
import { until } from "../until.ts";
import { request, soon, win } from "./asking.ts";
import { ask } from "./etcd/support.ts";
import { newGroup, Opened, Watch } from "./kubernetes/fixture.ts";
import { ownServer } from "./kubernetes/own_server.ts";

const start = await ownServer([
  // It refuses what comes while one write is under way, as servers did before they had queues for it.
  ...["--enable-priority-and-fairness=false", "--max-mutating-requests-inflight=1"],
  // Watches are answered by etcd, which forgets on command.
  "--watch-cache=false",
]);

if (start !== null) {
  test("a real server that is too busy is left alone as long as it asks for, and then grants", async () => {
    await using provider = kubernetesProvider({ url: (await start()).url });
    const asked = Array.from({ length: 60 }, () => request(newGroup(), { heartbeatTimeout: 60_000 }));
    const outcomes = await Promise.allSettled(asked.map((each) => provider.acquire(each, soon())));
    const refused = outcomes.flatMap((each) => each.status === "rejected" ? [each.reason] : []);
    assert.ok(refused.length > 0, "one write at a time is too few for sixty");
    for (const error of refused) {
      assert.ok(error instanceof ProviderError && !error.permanent, String(error));
      assert.match(error.message, /429.*left alone for 1 s/);
    }
    // One after the other, each is granted or finds what it has been granted.
    for (const each of asked) {
      const lease = await win(provider, each);
      assert.equal(await provider.renew(lease, soon()), "renewed");
    }
  });

  test("a watch goes on from what there is, when etcd has forgotten the version that it has seen", async () => {
    const { url, store } = await start();
    await using opened = new Opened(url);
    const [leader, post] = [opened.open(), opened.post()];
    const follower = opened.open({ request: post.request });
    const lease = await win(leader, request(newGroup(), { heartbeatTimeout: 60_000 }));
    const watch = new Watch(follower, lease.electionGroup);
    await until("it has shown what there is", () => watch.hints === 2);
    // What is written into other groups is not shown, and so the version that was seen falls behind.
    await win(leader, request(newGroup()));
    const other = await win(leader, request(newGroup()));
    await ask(store.url, "kv/compaction", { revision: String(other.token), physical: true });
    // A second group makes the watch begin again, from the version that it has seen.
    const second = new Watch(follower, other.electionGroup);
    await until("the second is watched", () => second.hints > 0);
    await until("the first looks again", () => watch.hints === 3);
    const versions = post.sent.filter((sent) => sent.includes("watch=1")).map((sent) => /&resourceVersion=/.test(sent));
    assert.deepEqual(versions, [false, true, false]);
    assert.deepEqual([watch.failure, second.failure], [null, null]);
    const seen = watch.hints;
    await leader.release(lease, soon());
    await until("the release is told", () => watch.hints > seen);
    await Promise.all([watch.end(), second.end()]);
  });
}
