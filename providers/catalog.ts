/**
 * The catalog: one card for each provider of this package. Data only, so that reading it loads no provider.
 *
 * The registry, the command line, the documentation and the tests read the cards; no other place knows which provider
 * opens which target.
 *
 * @module
 */

import type { ProviderCard } from "../src/registry.ts";

/** The cards, by the name of the provider. */
export const CATALOG = {
  memory: {
    name: "memory",
    title: "Memory of a process",
    watch: true,
    module: "memory",
    protocols: ["memory:"],
    sample: "memory:",
    permissions: [],
  },
  file: {
    name: "file",
    title: "Files of one host",
    watch: true,
    module: "file",
    protocols: ["file:"],
    sample: "file:///var/lib/app/elections",
    permissions: ["--allow-read=DIR,/proc", "--allow-write=DIR"],
  },
  sqlite: {
    name: "sqlite",
    title: "SQLite",
    watch: true,
    module: "sqlite",
    protocols: ["sqlite:"],
    sample: "sqlite:///var/lib/app/elections.db",
    permissions: ["--allow-read=DIR,/proc", "--allow-write=DIR", "--allow-sys=statfs"],
  },
  postgres: {
    name: "postgres",
    title: "PostgreSQL",
    watch: true,
    module: "postgres",
    protocols: ["postgres:", "postgresql:"],
    // Users of Npgsql and libpq have these. `Server=` could be SQL Server's, which has no such keywords as Port and
    // Username.
    matches: (target: string): boolean =>
      !isUrl(target) &&
      (hasKeyword(target, "host") || (hasKeyword(target, "server") && hasKeyword(target, "port|user ?name"))),
    port: 5432,
    sample: "postgres://user:password@localhost:5432/app",
    permissions: ["--allow-net=HOST:PORT", "--allow-env=USER,NODE_PG_FORCE_NATIVE,PG*"],
  },
  mysql: {
    name: "mysql",
    title: "MySQL, MariaDB",
    watch: false,
    module: "mysql",
    protocols: ["mysql:", "mariadb:"],
    port: 3306,
    sample: "mysql://user:password@localhost:3306/app",
    permissions: ["--allow-net=HOST:PORT"],
  },
  sqlserver: {
    name: "sqlserver",
    title: "SQL Server",
    watch: false,
    module: "sqlserver",
    protocols: ["sqlserver:", "mssql:"],
    // Connection strings of ADO.NET, with each synonym of the server. A colon before the first "=" makes it a URL, or
    // what should have been one.
    matches: (target: string): boolean =>
      !/^[^=]*:/.test(target) && hasKeyword(target, "server|data\\s*source|addr(ess)?|network\\s*address"),
    port: 1433,
    sample: "sqlserver://user:password@localhost:1433/app",
    permissions: ["--allow-net=HOST:PORT", "--allow-env"],
  },
  redis: {
    name: "redis",
    title: "Redis, Valkey",
    watch: true,
    module: "redis",
    protocols: ["redis:", "rediss:", "redis+sentinel:", "rediss+sentinel:", "redis+cluster:", "rediss+cluster:"],
    port: 6379,
    sample: "redis://localhost:6379",
    permissions: ["--allow-net=HOST:PORT", "--allow-env"],
  },
  "azure-blob": {
    name: "azure-blob",
    title: "Azure Blob Storage",
    watch: false,
    module: "azure-blob",
    protocols: ["azblob:"],
    // The schemes of the web belong to nobody: only Azure's own host names and the path of its emulators are its.
    matches: (target: string): boolean =>
      hasKeyword(target, "AccountName|BlobEndpoint|UseDevelopmentStorage") || isAzureUrl(target),
    port: 10000,
    sample: "https://ACCOUNT.blob.core.windows.net/elections?sig=SIGNATURE",
    permissions: ["--allow-net=HOST:PORT", "--allow-env", "--allow-sys=osRelease"],
  },
  consul: {
    name: "consul",
    title: "Consul",
    watch: true,
    module: "consul",
    protocols: ["consul:", "consul+https:"],
    port: 8500,
    sample: "consul://localhost:8500",
    permissions: ["--allow-net=HOST:PORT"],
  },
  zookeeper: {
    name: "zookeeper",
    title: "ZooKeeper",
    watch: true,
    module: "zookeeper",
    protocols: ["zookeeper:", "zookeeper+tls:"],
    port: 2181,
    sample: "zookeeper://localhost:2181",
    permissions: ["--allow-net=HOST:PORT"],
  },
  etcd: {
    name: "etcd",
    title: "etcd",
    watch: true,
    module: "etcd",
    protocols: ["etcd:", "etcd+https:"],
    port: 2379,
    sample: "etcd://localhost:2379",
    permissions: ["--allow-net=HOST:PORT"],
  },
  kubernetes: {
    name: "kubernetes",
    title: "Kubernetes",
    watch: true,
    module: "kubernetes",
    protocols: ["k8s:", "k8s+http:"],
    port: 6443,
    sample: "k8s://localhost:6443/default?ca=ca.pem&token=token",
    // In a pod the files are those of its service account, in one directory.
    permissions: [
      "--allow-net=HOST:PORT",
      "--allow-read=FILES",
      "--allow-env=KUBERNETES_SERVICE_HOST,KUBERNETES_SERVICE_PORT",
    ],
  },
} as const satisfies Readonly<Record<string, ProviderCard>>;

/** The cards, in the order in which they are shown. */
export const CARDS: readonly ProviderCard[] = Object.values(CATALOG);

function isUrl(target: string): boolean {
  return /^[a-z][a-z0-9+.-]*:\/\//i.test(target);
}

/** True if a connection string has one of `keywords`, which are a regular expression. What is quoted is a value. */
function hasKeyword(target: string, keywords: string): boolean {
  const bare = target.replace(/"[^"]*"|'[^']*'/g, "''");
  return new RegExp(`(^|;)\\s*(${keywords})\\s*=`, "i").test(bare);
}

/**
 * Azure's own hosts of blobs: the public cloud, its endpoints with a zone, China, the US government; and its emulators.
 */
function isAzureUrl(target: string): boolean {
  const clouds = "core\\.(windows\\.net|chinacloudapi\\.cn|usgovcloudapi\\.net|cloudapi\\.de)|storage\\.azure\\.net";
  const host = `[a-z0-9-]+(\\.z\\d+)?\\.blob\\.(${clouds})(:\\d+)?`;
  return new RegExp(`^https?://(${host}|[^/?#]+/devstoreaccount1)([/?]|$)`, "i").test(target);
}
