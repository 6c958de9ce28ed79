/** Jobs on several hosts, by leases that need no server. */

import { temporary } from "../cli/elect.ts";
import { jobCases } from "./cases.ts";

for (const scheme of ["file", "sqlite"]) {
  for (const { name } of jobCases(scheme, "", true)) {
    Deno.test(name, async () => {
      await using place = await temporary();
      const url = scheme === "file" ? place.url : `sqlite://${place.path}/leases.db`;
      await jobCases(scheme, url, true).find((each) => each.name === name)?.run();
    });
  }
}
