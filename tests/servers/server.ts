/**
 * What a test can do to a backend's real server. One file beside this one for each backend exports its `ServerKind`.
 */

/** A backend that the tests can start. */
export interface ServerKind {
  /** Its name, as in `ELECT_REQUIRE_BACKENDS` and `ELECT_TEST_<NAME>_URL`: that of the provider, if it has no other. */
  readonly name: string;
  /** The provider whose tests run against it, too. @default that of its name */
  readonly provider?: string;
  /**
   * Which of the provider's test files the gate runs against it, on Deno alone. All run, on every runtime, when it is
   * asked for by its name. @default all, on every runtime
   */
  readonly inGate?: RegExp;
  /** A directory of its programs: first on the search path of those tests. */
  readonly path?: string;
  /** Its service in `docker-compose.yml`, which `deno task sync` writes: for machines with Docker, and without it. */
  readonly compose?: ComposeService;
  /**
   * Makes the server's programs available (Debian packages, npm); does nothing if they are. Throws with the reason if
   * it cannot.
   */
  install(): Promise<void>;
  /**
   * Whether `install` has nothing left to do, of a server for which that takes minutes: the driver begins with it at
   * once and tests the backend last, and who can do without it does not wait. @default it takes no time
   */
  isThere?(): Promise<boolean>;
  /** Starts a server of its own on a free port of 127.0.0.1, with its data in a new temporary directory. */
  start(): Promise<TestServer>;
}

/** A service of `docker-compose.yml`, named like the provider. */
export interface ComposeService {
  /** The URL that the provider opens, on 127.0.0.1 and a port that nothing else has. */
  readonly url: string;
  readonly image: string;
  /** The port of the server in its container. */
  readonly port: number;
  /** @default those of the image */
  readonly entrypoint?: readonly string[];
  readonly command?: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
  /** A command in the container that succeeds when the server answers. */
  readonly healthCheck: readonly string[];
  /** How long it is waited for, in seconds. @default 60 */
  readonly patience?: number;
}

/** A running server. `kill`, `freeze` and `restart` act on it by process id. */
export interface TestServer {
  /** The URL that the provider opens. */
  readonly url: string;
  /** Ends it with SIGKILL; returns when it is gone. */
  kill(): Promise<void>;
  /** Starts it again, on the same port and data; returns when it answers. */
  restart(): Promise<void>;
  /** Stops it with SIGSTOP: it accepts connections and answers nothing. */
  freeze(): Promise<void>;
  /** Lets it go on with SIGCONT. */
  thaw(): Promise<void>;
  /** Ends it and removes its data. */
  stop(): Promise<void>;
}
