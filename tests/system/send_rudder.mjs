// Sends events with RudderStack's SDK for Node, unmodified, and ends when all are out.
import Analytics from '@rudderstack/rudder-sdk-node'

const [dataPlaneUrl, writeKey, count, prefix] = process.argv.slice(2)
const analytics = new Analytics(writeKey, {
  dataPlaneUrl, flushAt: 10, logLevel: 'none', errorHandler: (error) => { console.error(error.message); process.exitCode = 1 },
})
for (let number = 0; number < Number(count); number++) {
  analytics.track({ anonymousId: `${prefix}v${number % 5}`, event: 'Manual Read', messageId: `${prefix}${number}`, properties: { number } })
}
analytics.identify({ userId: `${prefix}user`, traits: { email: 'rudder@sdk.example', industry: 'water' }, messageId: `${prefix}identify` })
analytics.group({ userId: `${prefix}user`, groupId: 'northwind-kk', messageId: `${prefix}group` })
analytics.page({ anonymousId: `${prefix}v0`, name: 'Pumps', messageId: `${prefix}page`, properties: { path: '/products/pumps' } })
while (analytics.queue.length) await analytics.flush()
await analytics.flush()
