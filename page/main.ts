/**
 * The page of `elect serve`: draws what the API says, and is kept up to date by its stream of events.
 *
 * Whatever the backend holds is put into the page as text, never as markup.
 *
 * @module
 */

interface Leader {
  readonly leaderId: string;
  readonly token: string;
  readonly since: string;
  readonly expiresInMs: number | null;
  readonly metadata: Readonly<Record<string, string>>;
}

interface SeenTerm {
  readonly leaderId: string;
  readonly token: string;
  readonly since: string;
  readonly until: string | null;
  readonly reason: string | null;
}

interface Election {
  readonly electionGroup: string;
  readonly participantId: string | null;
  readonly role: string;
  readonly provider: string;
  readonly leader: Leader | null;
  readonly heartbeatTimeoutMs: number;
  readonly terms: readonly SeenTerm[];
  readonly participants: readonly { readonly participantId: string; readonly lastSeen: string }[];
  readonly backend: { readonly ok: boolean; readonly error: { readonly message: string } | null };
  readonly now: string;
}

/** What is shown of an election, and when it was heard of. */
interface Shown {
  election: Election;
  heardAt: number;
  /** What the clock of the server is ahead of this one's. */
  offset: number;
  readonly update: (isNew: boolean) => void;
  /** Draws what moves with time alone. Tables stay: somebody may be reading, or have selected part of one. */
  readonly tick: (redraws: boolean) => void;
}

const COLOURS = ["#1f6fd1", "#8a3ffc", "#a8480d", "#0a7a72", "#b0307a", "#4f6b16", "#6a4fb3", "#8c5a00"];
const ROLES: Readonly<Record<string, string>> = {
  leader: "this process leads",
  follower: "this process follows",
  observer: "this process watches",
  stopped: "this process has stopped",
};
const REASONS: Readonly<Record<string, string>> = {
  expired: "expired",
  lost: "lost",
  released: "released",
  stopped: "stopped",
  unhealthy: "unhealthy",
  ended: "ended",
};
const HOUR = 3_600_000;
/** The shortest time that a time line shows, in milliseconds. */
const SHORTEST_MS = 10_000;

const shown = new Map<string, Shown>();
const colours = new Map<string, string>();
const main = document.querySelector("main") as HTMLElement;
const connection = document.querySelector("#connection") as HTMLElement;
const announcement = document.querySelector("#announcement") as HTMLElement;
const cards = make("div", "cards");

function make<K extends keyof HTMLElementTagNameMap>(tag: K, className = "", text = ""): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  if (className !== "") element.className = className;
  if (text !== "") element.textContent = text;
  return element;
}

function colourOf(leaderId: string): string {
  const colour = colours.get(leaderId) ?? COLOURS[colours.size % COLOURS.length] ?? "#1f6fd1";
  colours.set(leaderId, colour);
  return colour;
}

/** A length of time as people say it. */
function span(ms: number): string {
  const seconds = Math.max(0, Math.floor(ms / 1_000));
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3_600) return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3_600)} h ${Math.floor(seconds / 60) % 60} min`;
  return `${Math.floor(seconds / 86_400)} d ${Math.floor(seconds / 3_600) % 24} h`;
}

/** A time of day, with the date unless that is today's. */
function clock(ms: number): string {
  const at = new Date(ms);
  const isToday = at.toDateString() === new Date().toDateString();
  const date = isToday ? {} : { month: "short", day: "numeric" } as const;
  return at.toLocaleString([], { ...date, hour: "2-digit", minute: "2-digit", second: "2-digit" });
}

function state(element: HTMLElement, value: "good" | "warn" | "bad" | "waiting", text: string): void {
  if (element.textContent === text) return;
  element.dataset["state"] = value;
  element.textContent = text;
}

/** Builds the card of an election, and returns what keeps it up to date. */
function card(first: Election): Shown {
  const section = make("section");
  const title = make("h2", "", first.electionGroup);
  title.id = `group-${first.electionGroup}`;
  section.setAttribute("aria-labelledby", title.id);
  const health = make("p", "state");
  const head = make("div", "head");
  head.append(title, health);
  const leader = make("p", "leader");
  const facts = make("p", "facts");
  const [role, token, inTerm] = [make("span"), make("span"), make("span")];
  facts.append(token, inTerm, role);

  const deadline = make("div", "deadline");
  const row = make("div", "row");
  const [label, left] = [make("span", "", "Lease"), make("span")];
  row.append(label, left);
  const [track, fill] = [make("div", "track"), make("div", "fill")];
  track.setAttribute("role", "progressbar");
  track.setAttribute("aria-label", `Lease of ${first.electionGroup}, in seconds left`);
  track.setAttribute("aria-valuemin", "0");
  track.append(fill);
  deadline.append(row, track);

  const error = make("p", "error");
  const line = make("div", "line");
  line.setAttribute("role", "img");
  const scale = make("div", "scale");
  const scroll = make("div", "scroll");
  scroll.tabIndex = 0;
  scroll.setAttribute("role", "region");
  scroll.setAttribute("aria-label", `Terms of ${first.electionGroup}`);
  const people = make("ul", "people");
  section.append(
    head,
    leader,
    facts,
    deadline,
    error,
    make("h3", "", "Terms"),
    line,
    scale,
    scroll,
    make("h3", "", "Participants that were seen"),
    people,
  );
  cards.append(section);

  const self: Shown = {
    election: first,
    heardAt: performance.now(),
    offset: 0,
    update(isNew) {
      const { election } = self;
      const { backend } = election;
      const isOk = backend.ok;
      state(health, isOk ? "good" : "bad", isOk ? `${election.provider} answers` : `${election.provider} fails`);
      error.textContent = backend.error?.message ?? "";
      error.hidden = isOk;
      leader.textContent = election.leader?.leaderId ?? "Nobody leads";
      leader.classList.toggle("nobody", election.leader === null);
      role.textContent = ROLES[election.role] ?? election.role;
      token.replaceChildren();
      if (election.leader !== null) token.append("token ", make("strong", "", election.leader.token));
      if (isNew) {
        drawTable(scroll, election, self.offset);
        drawPeople(people, election);
      }
      self.tick(isNew);
    },
    tick(redraws) {
      if (redraws) drawLine(line, scale, self);
      const { election, heardAt, offset } = self;
      const now = Date.now() + offset;
      const since = election.leader === null ? null : Date.parse(election.leader.since);
      inTerm.textContent = since === null ? "" : `in term for ${span(now - since)}`;
      deadline.hidden = election.leader === null;
      const { expiresInMs = null } = election.leader ?? {};
      const remaining = expiresInMs === null ? null : Math.max(0, expiresInMs - (performance.now() - heardAt));
      const share = remaining === null ? 1 : Math.min(1, remaining / election.heartbeatTimeoutMs);
      fill.style.transform = `scaleX(${share.toFixed(4)})`;
      fill.dataset["level"] = share > 0.5 ? "good" : share > 0.25 ? "warn" : "bad";
      left.textContent = remaining === null
        ? "only the backend knows until when"
        : `${(remaining / 1_000).toFixed(1)} s left`;
      track.setAttribute("aria-valuemax", String(Math.round(election.heartbeatTimeoutMs / 1_000)));
      track.setAttribute("aria-valuenow", String(Math.round((remaining ?? election.heartbeatTimeoutMs) / 1_000)));
    },
  };
  return self;
}

function drawTable(scroll: HTMLElement, { terms }: Election, offset: number): void {
  const table = make("table");
  const header = make("tr");
  for (const name of ["Leader", "Ended", "After", "From", "Token"]) {
    const cell = make("th", "", name);
    cell.scope = "col";
    header.append(cell);
  }
  const body = make("tbody");
  for (const { leaderId, token, since, until, reason } of terms) {
    const tr = make("tr");
    const name = make("td");
    const swatch = make("span", "swatch");
    swatch.style.background = colourOf(leaderId);
    name.append(swatch, leaderId);
    const from = Date.parse(since) - offset;
    const took = until === null ? "" : span(Date.parse(until) - Date.parse(since));
    const ended = until === null ? "leads now" : REASONS[reason ?? "ended"] ?? "";
    tr.append(name, make("td", "", ended), make("td", "", took), make("td", "", clock(from)), make("td", "", token));
    body.append(tr);
  }
  const head = make("thead");
  head.append(header);
  table.append(head, body);
  scroll.replaceChildren(terms.length === 0 ? make("p", "empty", "None was seen yet.") : table);
}

function drawPeople(people: HTMLElement, { participants, leader, participantId }: Election): void {
  people.replaceChildren(...participants.map((each) => {
    const item = make("li");
    item.append(make("b", "", each.participantId));
    const is = [
      each.participantId === leader?.leaderId ? "leads" : "",
      each.participantId === participantId ? "this process" : "",
    ];
    const said = is.filter((text) => text !== "").join(", ");
    if (said !== "") item.append(` ${said}`);
    return item;
  }));
}

/** Draws the terms over the time since the first that was seen, at most six hours. Where nobody led, it is hatched. */
function drawLine(line: HTMLElement, scale: HTMLElement, { election, offset }: Shown): void {
  const { terms, electionGroup } = election;
  const now = Date.now() + offset;
  const oldest = Date.parse(terms.at(-1)?.since ?? election.now);
  const from = Math.max(Math.min(oldest, now - SHORTEST_MS), now - 6 * HOUR);
  const at = (time: number) => Math.min(100, Math.max(0, (time - from) / (now - from) * 100));
  const visible = terms.filter(({ until }) => until === null || Date.parse(until) > from);
  line.replaceChildren(...visible.map(({ leaderId, token, since, until, reason }) => {
    const part = make("span", "", leaderId);
    const [start, end] = [at(Date.parse(since)), at(until === null ? now : Date.parse(until))];
    part.style.left = `${start}%`;
    part.style.width = `${end - start}%`;
    if (end - start < 8) part.textContent = "";
    part.style.background = colourOf(leaderId);
    part.title = `${leaderId}, token ${token}${until === null ? ", leads" : `, ${REASONS[reason ?? "ended"]}`}`;
    return part;
  }));
  line.setAttribute("aria-label", `Time line of ${electionGroup}: ${visible.length} terms; the table below has each.`);
  scale.replaceChildren(make("span", "", clock(from - offset)), make("span", "", "now"));
}

function take(election: Election): void {
  const known = shown.get(election.electionGroup);
  const each = known ?? card(election);
  if (known === undefined) {
    if (shown.size === 0) main.replaceChildren(cards);
    shown.set(election.electionGroup, each);
  }
  const before = known?.election.leader;
  each.election = { ...each.election, ...election };
  each.heardAt = performance.now();
  each.offset = Date.parse(election.now) - Date.now();
  each.update("terms" in election);
  const { leader, electionGroup } = each.election;
  if (known === undefined || before?.token === leader?.token) return;
  announcement.textContent = leader === null
    ? `Nobody leads ${electionGroup}`
    : `${leader.leaderId} leads ${electionGroup} under token ${leader.token}`;
}

const events = new EventSource("/v1/changes");
events.addEventListener("open", () => state(connection, "good", "live"));
events.addEventListener("error", () => state(connection, "bad", "connection lost, trying again"));
for (const type of ["state", "change", "lease"]) {
  events.addEventListener(type, (event) => take(JSON.parse((event as MessageEvent<string>).data)));
}
let lastLine = 0;
function draw(time: number): void {
  const redraws = time - lastLine > 1_000;
  if (redraws) lastLine = time;
  for (const each of shown.values()) {
    each.tick(redraws);
  }
  requestAnimationFrame(draw);
}
requestAnimationFrame(draw);
