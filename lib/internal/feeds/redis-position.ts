/** How far a feed has come: an entry of the stream, and while it loads, which of the marks before that entry are loaded. */
export interface Place {
  readonly entry: string
  readonly name: string
  readonly loaded?: Loaded
}

/** Every mark that ends before this instant, and those that end then and have this id or one before it. */
export interface Loaded {
  readonly until: string
  readonly id: string
}

/** Reads a position. Returns `undefined` for one of another kind of feed. */
export function placeOf (position: string | undefined): Place | undefined {
  try {
    const place = JSON.parse(position ?? 'null') as Partial<Place> | null
    return typeof place?.entry === 'string' && typeof place.name === 'string' ? place as Place : undefined
  } catch {
    return undefined
  }
}
