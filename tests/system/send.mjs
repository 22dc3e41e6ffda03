// Sends events with the official SDK for Node, unmodified, and ends when all are out.
import { Analytics } from '@segment/analytics-node'

const [endpoint, writeKey, count] = process.argv.slice(2)
// The SDK takes a path beside the host; the local run's endpoint has one.
const { origin, pathname } = new URL(endpoint)
const analytics = new Analytics({ writeKey, host: origin, path: `${pathname.replace(/\/$/, '')}/v1/batch`, flushAt: 10 })
analytics.on('error', (error) => { console.error(error); process.exitCode = 1 })
for (let number = 0; number < Number(count); number++) {
  analytics.track({ anonymousId: `node-${number % 5}`, event: 'Manual Read', messageId: `node-${number}`, properties: { number } })
}
analytics.identify({ userId: 'node-user', traits: { email: 'node@sdk.example', industry: 'water' }, messageId: 'node-identify' })
analytics.page({ anonymousId: 'node-0', name: 'Pumps', messageId: 'node-page', properties: { path: '/products/pumps' } })
await analytics.closeAndFlush()
