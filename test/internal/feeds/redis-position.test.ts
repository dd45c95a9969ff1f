import t from 'tap'
import { placeOf } from '../../../lib/internal/feeds/redis-position.ts'

t.test('a position is read back as the place that it was made of', async t => {
  for (const place of [{ entry: '1-1', name: 'a' }, { entry: '1-1', name: '', loaded: { until: '5', id: 'tt' } }]) {
    t.same(placeOf(JSON.stringify(place)), place)
  }
})

t.test('a position of another kind of feed is read as undefined', async t => {
  for (const wrong of [undefined, '', 'rubbish', 'null', '1', '[]', '{}', '{"entry":"1-1"}', '{"name":"a"}', '{"entry":1,"name":"a"}']) {
    t.equal(placeOf(wrong), undefined, `${wrong}`)
  }
})
