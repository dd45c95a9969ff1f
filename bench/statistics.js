/** The value at this share (0 to 1) of the sorted list; `NaN` for an empty one. */
export function quantile (values, share) {
  const sorted = Float64Array.from(values).sort()
  if (sorted.length === 0) return NaN
  const place = (sorted.length - 1) * share
  const below = sorted[Math.floor(place)]
  return below + (sorted[Math.ceil(place)] - below) * (place - Math.floor(place))
}

export function median (values) {
  return quantile(values, 0.5)
}

/** The median with its middle half. */
export function spread (values) {
  return { median: median(values), low: quantile(values, 0.25), high: quantile(values, 0.75), samples: values.length }
}

/** What rounds of a subject cost its process and, where there is one, the server of its store; and both by those of another subject. */
export function costs (rounds, base, pid) {
  const both = ({ node, store }) => node + (pid === undefined ? 0 : store)
  return {
    node: spread(rounds.map(({ node }) => node)),
    ...pid !== undefined && { store: spread(rounds.map(({ store }) => store)) },
    ratio: spread(rounds.map((round, index) => both(round) / both(base[index])))
  }
}
