/**
 * Does the work for each item, for at most `limit` of them at the same time. Every item gets its turn, also after a failure.
 * Resolves to the results in the order of the items, or rejects with the first failure once all are done.
 */
export async function inParallel<Item, Result> (
  items: readonly Item[], limit: number, work: (item: Item) => Promise<Result>
): Promise<Result[]> {
  const results: Result[] = []
  const failures: unknown[] = []
  const waiting = items.entries()
  const worker = async () => {
    for (const [index, item] of waiting) {
      try {
        results[index] = await work(item)
      } catch (error) {
        failures.push(error)
      }
    }
  }
  await Promise.all(Array.from({ length: Math.min(limit, items.length) }, worker))
  if (failures.length > 0) throw failures[0]
  return results
}
