/**
 * Draws the pictures of the documentation, for light and for dark pages. `deno task pictures` writes them beside this file.
 *
 * @module
 */

/** The colours of a theme. */
interface Theme {
  readonly name: "light" | "dark";
  readonly ink: string;
  readonly faint: string;
  readonly paper: string;
  readonly leads: string;
  readonly margin: string;
  readonly follows: string;
}

const THEMES: readonly Theme[] = [
  {
    name: "light",
    ink: "#1f2328",
    faint: "#656d76",
    paper: "#ffffff",
    leads: "#1a7f37",
    margin: "#bf8700",
    follows: "#afb8c1",
  },
  {
    name: "dark",
    ink: "#e6edf3",
    faint: "#9198a1",
    paper: "#0d1117",
    leads: "#3fb950",
    margin: "#d29922",
    follows: "#484f58",
  },
];

for (const theme of THEMES) {
  for (const [name, draw] of Object.entries({ term: drawTerm, failover: drawFailover })) {
    await Deno.writeTextFile(new URL(`${name}-${theme.name}.svg`, import.meta.url), draw(theme));
  }
}

/** The life of a term: which phases a participant goes through, and what leads from one to the next. */
function drawTerm(theme: Theme): string {
  const box = (x: number, y: number, title: string, text: string, colour: string) =>
    `<rect x="${x}" y="${y}" width="170" height="56" rx="8" fill="${theme.paper}" stroke="${colour}" stroke-width="2"/>` +
    write(theme, x + 85, y + 24, title, "middle", theme.ink, 15) + write(theme, x + 85, y + 43, text, "middle");
  return svg(760, 250, theme, [
    box(10, 60, "looks", "acquire, or read", theme.follows),
    box(300, 60, "leads", "isLeader is true", theme.leads),
    box(580, 60, "drains", "the lease is kept", theme.margin),
    box(580, 180, "releases", "the lease is free", theme.follows),
    box(10, 180, "waits", "hint, expiry, interval", theme.follows),
    arrow(theme, 180, 88, 300, 88),
    write(theme, 240, 78, "granted", "middle"),
    arrow(theme, 470, 88, 580, 88),
    write(theme, 525, 70, "release, stop,", "middle"),
    write(theme, 525, 82, "unhealthy", "middle"),
    arrow(theme, 665, 116, 665, 180),
    write(theme, 657, 152, "work has settled", "end"),
    arrow(theme, 580, 208, 180, 208),
    write(theme, 380, 200, "cools down", "middle"),
    arrow(theme, 80, 180, 80, 116),
    arrow(theme, 110, 116, 110, 180),
    write(theme, 118, 152, "held", "start"),
    `<line x1="385" y1="60" x2="385" y2="30" stroke="${theme.ink}" stroke-width="1.5"/>`,
    `<path d="M385 30 H95 V54" fill="none" stroke="${theme.ink}" stroke-width="1.5" marker-end="url(#tip)"/>`,
    write(theme, 240, 22, "lost, or its deadline has passed", "middle"),
    `<path d="M440 60 C 440 25, 520 25, 460 58" fill="none" stroke="${theme.ink}" stroke-width="1.5" marker-end="url(#tip)"/>`,
    write(theme, 500, 34, "heartbeat", "start"),
  ]);
}

/** A failover on a time line, with the defaults: lease 15 s, margin 1.5 s. */
function drawFailover(theme: Theme): string {
  const [left, scale] = [110, 32];
  const x = (seconds: number) => left + seconds * scale;
  const bar = (from: number, to: number, y: number, colour: string) =>
    `<rect x="${x(from)}" y="${y}" width="${(to - from) * scale}" height="26" rx="4" fill="${colour}"/>`;
  const tick = (seconds: number, text: string) =>
    `<line x1="${x(seconds)}" y1="40" x2="${x(seconds)}" y2="178" stroke="${theme.faint}" stroke-dasharray="3 4"/>` +
    write(theme, x(seconds), 196, text, "middle");
  return svg(760, 240, theme, [
    write(theme, 10, 68, "leader A", "start", theme.ink, 15),
    write(theme, 10, 118, "backend", "start", theme.ink, 15),
    write(theme, 10, 168, "follower B", "start", theme.ink, 15),
    bar(0, 13.485, 50, theme.leads),
    bar(13.485, 15, 50, theme.margin),
    bar(0, 15, 100, theme.follows),
    bar(15.1, 20, 100, theme.leads),
    bar(15.1, 20, 150, theme.leads),
    write(theme, x(5), 68, "isLeader is true", "middle", theme.paper),
    write(theme, x(5), 118, "lease of A", "middle", theme.ink),
    write(theme, x(17.5), 118, "lease of B", "middle", theme.paper),
    write(theme, x(17.5), 168, "isLeader is true", "middle", theme.paper),
    write(theme, x(14.3), 30, "safety margin", "middle"),
    tick(0, "0 s: the last heartbeat is sent"),
    tick(13.485, "13.485 s"),
    tick(15, "15 s"),
    write(
      theme,
      x(0.2),
      222,
      "A is cut off. It steps down by itself at 13.485 s, and B leads once the backend has freed the lease.",
      "start",
    ),
  ]);
}

function svg(width: number, height: number, theme: Theme, parts: readonly string[]): string {
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" font-family="system-ui, sans-serif" role="img">`,
    `<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">` +
    `<path d="M0 0 L8 4 L0 8 z" fill="${theme.ink}"/></marker></defs>`,
    `<rect width="${width}" height="${height}" fill="${theme.paper}"/>`,
    ...parts,
    "</svg>",
    "",
  ].join("\n");
}

function arrow(theme: Theme, x1: number, y1: number, x2: number, y2: number): string {
  return `<line x1="${x1}" y1="${y1}" x2="${x2}" y2="${y2}" stroke="${theme.ink}" stroke-width="1.5" marker-end="url(#tip)"/>`;
}

function write(
  theme: Theme,
  x: number,
  y: number,
  text: string,
  anchor: string,
  colour = theme.faint,
  size = 12,
): string {
  return `<text x="${x}" y="${y}" text-anchor="${anchor}" fill="${colour}" font-size="${size}">${text}</text>`;
}
