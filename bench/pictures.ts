/** Draws two pictures of results: of hand-offs, and of scale. */

import { type Measurement, median } from "./measurement.ts";
import { format } from "./table.ts";

const [WIDTH, ROW, LEFT, TOP, SPACE] = [720, 22, 210, 34, 90];

/** Writes `docs/pictures/hand-off.svg` and `docs/pictures/scale.svg`. */
export function drawPictures(measurements: readonly Measurement[]): void {
  const handOffs = measurements.filter(({ suite, what }) => suite === "handoff" && what === "to one of 1");
  const starts = measurements.filter(({ suite, what }) => suite === "scale" && /: all (lead|have stopped)/.test(what));
  write("hand-off", "A hand-over to another process, median, ms", handOffs);
  write("scale", "Elections of one process: all lead, all have stopped, ms", starts);
}

function write(name: string, title: string, lines: readonly Measurement[]): void {
  Deno.writeTextFileSync(new URL(`../docs/pictures/${name}.svg`, import.meta.url), bars(title, lines));
}

/** Bars on a logarithmic scale, readable on light and dark ground. */
function bars(title: string, lines: readonly Measurement[]): string {
  const values = lines.map(({ runs }) => Math.max(median(runs), 0.1));
  const [low, high] = [Math.min(...values) / 2, Math.max(...values)];
  const length = (value: number) => ((WIDTH - LEFT - SPACE) * Math.log(value / low)) / Math.log(high / low);
  const rows = lines.flatMap(({ backend, what }, index) => {
    const [y, value] = [TOP + index * ROW, values[index] ?? low];
    return [
      `<text x="${LEFT - 8}" y="${y + 14}" text-anchor="end">${backend}, ${what}</text>`,
      `<rect x="${LEFT}" y="${y + 3}" width="${length(value).toFixed(1)}" height="${ROW - 8}" fill="#4a7fb5"/>`,
      `<text x="${(LEFT + length(value) + 6).toFixed(1)}" y="${y + 14}">${format(value)}</text>`,
    ];
  });
  const height = TOP + lines.length * ROW + 8;
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" font-family="sans-serif" font-size="12" fill="#777">
<title>${title}</title>
<text x="8" y="18" font-size="14">${title} (logarithmic)</text>
${rows.join("\n")}
</svg>
`;
}
