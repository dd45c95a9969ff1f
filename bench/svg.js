/**
 * A chart of lines over a logarithmic horizontal axis, from zero upwards, as an SVG of its own.
 *
 * @param {{ title: string, x: string, y: string, lines: { name: string, points: [number, number][] }[] }} chart
 */
export function chart ({ title, x, y, lines }) {
  const all = lines.flatMap(({ points }) => points)
  const [least, most] = [Math.min(...all.map(([value]) => value)), Math.max(...all.map(([value]) => value))]
  const top = niceAbove(Math.max(...all.map(([, value]) => value)))
  const place = ([across, up]) => [
    left + (right - left) * (Math.log10(across / least) / (Math.log10(most / least) || 1)),
    bottom - (bottom - head) * (up / top)
  ].map(value => Number(value.toFixed(1)))

  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" role="img" aria-label="${title}" font-family="system-ui, sans-serif" font-size="13">
<rect width="${width}" height="${height}" fill="#fff"/>
<text x="${left}" y="24" font-size="16" font-weight="600">${title}</text>
${[0, 1, 2, 3, 4].map(step => gridLine(top * step / 4, place)).join('\n')}
${[...new Set(all.map(([value]) => value))].map(value => tick(value, place)).join('\n')}
<text x="${(left + right) / 2}" y="${height - 10}" text-anchor="middle" fill="#444">${x}</text>
<text x="16" y="${(head + bottom) / 2}" text-anchor="middle" fill="#444" transform="rotate(-90 16 ${(head + bottom) / 2})">${y}</text>
${lines.map((line, index) => curve(line, index, place)).join('\n')}
</svg>
`
}

const [width, height, left, right, head, bottom] = [720, 400, 80, 560, 44, 340]
const colours = ['#1b6ca8', '#c8553d', '#3a7d44', '#7b4b94', '#b8860b']

function curve ({ name, points }, index, place) {
  const colour = colours[index % colours.length]
  const places = points.map(place)
  const entry = head + 16 + 22 * index
  return `<polyline points="${places.join(' ')}" fill="none" stroke="${colour}" stroke-width="2"/>
${places.map(([cx, cy]) => `<circle cx="${cx}" cy="${cy}" r="3.5" fill="${colour}"/>`).join('')}
<rect x="${right + 20}" y="${entry - 9}" width="12" height="4" fill="${colour}"/><text x="${right + 40}" y="${entry - 2}">${name}</text>`
}

function gridLine (value, place) {
  const [, y] = place([1, value])
  return `<line x1="${left}" x2="${right}" y1="${y}" y2="${y}" stroke="#ddd"/><text x="${left - 8}" y="${y + 4}" text-anchor="end">${Number(value.toPrecision(3))}</text>`
}

function tick (value, place) {
  const [x] = place([value, 0])
  return `<text x="${x}" y="${bottom + 20}" text-anchor="middle">${value.toLocaleString('en')}</text>`
}

function niceAbove (value) {
  const power = 10 ** Math.floor(Math.log10(value))
  return ([1, 2, 4, 5, 8, 10].find(step => step * power >= value * 1.05) ?? 20) * power
}
