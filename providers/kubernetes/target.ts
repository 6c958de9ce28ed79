/**
 * Where the API server is, and what a caller shows it.
 *
 * @module
 */

import { readFile } from "node:fs/promises";
import process from "node:process";
import { permanently } from "../../src/call.ts";
import { redact } from "../../src/redact.ts";
import { readParameters } from "../kit/parameters.ts";
import { checkTlsSettings, TLS_PARAMETERS, type TlsFiles } from "../kit/tls_files.ts";

/** The files of a service account, as every pod has them. */
const ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount";
/** The names that a namespace may have. */
const NAMESPACE = /^(?=.{1,63}$)[a-z0-9]([-a-z0-9]*[a-z0-9])?$/;
/** The port of an API server, and that of `kubectl proxy`. */
const [PORT, PROXY_PORT] = [6443, 8001];

/** The parts of a target. */
export interface KubernetesTarget {
  /** Such as `https://10.0.0.1:443`. */
  readonly origin: string;
  /** The namespace of the Leases; null for that of the pod. */
  readonly namespace: string | null;
  /** The file with the bearer token; null without one. */
  readonly tokenFile: string | null;
  /** Where to find certificates; null for HTTP. */
  readonly tls: TlsFiles | null;
}

/**
 * Reads `k8s:///` (the pod's own API server, account and namespace), `k8s:///NAMESPACE`,
 * `k8s://HOST:PORT/NAMESPACE?token=FILE`, with `ca`, `cert`, `key` and `servername`, or
 * `k8s+http://HOST:PORT/NAMESPACE`.
 *
 * @param env the variables of this process
 * @throws {TypeError} if it is malformed, has a setting that is unknown, or is for a pod and this is none
 */
export function parseKubernetesUrl(
  text: string,
  env: Readonly<Record<string, string | undefined>> = process.env,
): KubernetesTarget {
  const { scheme, url, settings, refuse } = partsOf(text);
  const { token, ...tls } = settings;
  const namespace = namespaceIn(url, refuse);
  if (scheme === "k8s+http") {
    const [secret] = Object.keys(settings);
    if (secret !== undefined) throw refuse(`the setting "${secret}" needs k8s://, which is encrypted`);
    if (url.hostname === "") throw refuse("it must name a host, such as 127.0.0.1:8001 of kubectl proxy");
    return {
      origin: `http://${url.hostname}:${url.port || PROXY_PORT}`,
      namespace: namespace ?? "default",
      tokenFile: null,
      tls: null,
    };
  }
  checkTlsSettings(tls, null, refuse);
  if (url.hostname !== "") {
    return {
      origin: `https://${url.hostname}:${url.port || PORT}`,
      namespace: namespace ?? "default",
      tokenFile: token ?? null,
      tls,
    };
  }
  const { KUBERNETES_SERVICE_HOST: host, KUBERNETES_SERVICE_PORT: port } = env;
  if (!host || !port) {
    throw refuse("KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set: this is no pod, name a host");
  }
  return {
    origin: `https://${host.includes(":") ? `[${host}]` : host}:${port}`,
    namespace,
    tokenFile: token ?? `${ACCOUNT}/token`,
    tls: { ca: `${ACCOUNT}/ca.crt`, ...tls },
  };
}

/**
 * Reads the namespace for an injected `request`, which knows the rest: `k8s:///NAMESPACE`.
 *
 * @throws {TypeError} if the URL says anything else
 */
export function parseNamespace(text: string): string {
  const { scheme, url, settings, refuse } = partsOf(text);
  if (scheme !== "k8s" || url.host !== "" || Object.keys(settings).length > 0) {
    throw refuse("with a request of your own it says no more than k8s:///NAMESPACE");
  }
  return namespaceIn(url, refuse) ?? "default";
}

/** Returns what reads the namespace of the pod, once it has been read from its file. */
export function podNamespace(): () => Promise<string> {
  let known: string | null = null;
  return async () => {
    known ??= (await readFile(`${ACCOUNT}/namespace`, "utf8").catch((cause) => {
      throw permanently(new Error(`cannot read the namespace of the pod: ${codeOf(cause)}`, { cause }));
    })).trim();
    return known;
  };
}

/** Returns what a file system says, without the path: somebody may have given a token where a file was asked for. */
export function codeOf(error: unknown): string {
  const { code, name } = error as { code?: unknown; name?: unknown };
  return String(code ?? name ?? "unknown");
}

function partsOf(text: string) {
  const refuse = (why: string) => new TypeError(`Cannot open provider "${redact(text)}": ${why}`);
  const [scheme, rest] = /^(k8s|k8s\+http):\/\/(.*)$/is.exec(text)?.slice(1) ?? [];
  if (scheme === undefined || rest === undefined) throw refuse("it must begin with k8s:// or k8s+http://");
  // Parsed with a scheme that has no port of its own, a port of 80 or 443 stays.
  const url = URL.canParse(`k8s://${rest}`) ? new URL(`k8s://${rest}`) : null;
  if (url === null) throw refuse("it is malformed");
  const settings = readParameters("kubernetes", url.searchParams, { token: "text", ...TLS_PARAMETERS });
  if (settings.token === "" || /^eyJ/.test(settings.token ?? "")) throw refuse("token must name a file");
  if (url.username !== "" || url.password !== "") throw refuse("users and passwords are not taken: name a token file");
  if (url.hash !== "") throw refuse('a "#" in it must be written as %23');
  return { scheme: scheme.toLowerCase(), url, settings, refuse };
}

function namespaceIn({ pathname }: URL, refuse: (why: string) => TypeError): string | null {
  const namespace = pathname.replace(/^\/|\/$/g, "");
  if (namespace === "") return null;
  // It is not shown: the rest of a password that was not encoded may stand here.
  if (!NAMESPACE.test(namespace)) throw refuse("its path is no name of a namespace");
  return namespace;
}
