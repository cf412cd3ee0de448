// Sends one request by the stream of a portal, and waits until Matricule says that it was accepted.
// node send.js KIND KEY BODY: the values of `matricule portal create NAME --queue` are in the environment:
// PORTAL_NAME, PORTAL_KEY_ID, PORTAL_QUEUE_SECRET, REDIS_SOCKET (or REDIS_HOST and REDIS_PORT),
// and REDIS_USER and REDIS_PASSWORD if Redis asks for them.
import { createHmac } from 'node:crypto'
import { Redis } from 'ioredis'

const [kind, key, body] = process.argv.slice(2)
const env = process.env
const portal = env.PORTAL_NAME
const keyId = env.PORTAL_KEY_ID
const namespace = env.REDIS_NAMESPACE ?? 'matricule'

// Signed are seven lines and then the body, as the very bytes that are sent.
const sentAt = String(Math.floor(Date.now() / 1000))
const signed = ['matricule-queue-v1', portal, keyId, kind, '1', key, sentAt].join('\n') + '\n' + body
const signature = 'v1,' + createHmac('sha256', env.PORTAL_QUEUE_SECRET).update(signed, 'utf8').digest('base64')

const where = env.REDIS_SOCKET ? { path: env.REDIS_SOCKET } : { host: env.REDIS_HOST, port: Number(env.REDIS_PORT) }
const login = env.REDIS_PASSWORD ? { username: env.REDIS_USER, password: env.REDIS_PASSWORD } : {}
// Without the ready check, which sends INFO: the user of a portal may not.
const redis = new Redis({ ...where, ...login, enableReadyCheck: false, maxRetriesPerRequest: 3 })

// XADD answers the identifier of the entry. An error means: not sent. Sent is not accepted: repeat under the same key.
const entry = { kind, version: '1', key, key_id: keyId, sent_at: sentAt, signature, body }
const id = await redis.xadd(`${namespace}:stream:${portal}`, '*', ...Object.entries(entry).flat())

// The answers of this portal, oldest first; each names the entry and the key. Keep the place to go on from there.
async function answered() {
  let place = '0-0'
  for (let tries = 0; tries < 30; tries++) {
    const found = await redis.xread('COUNT', 100, 'BLOCK', 1000, 'STREAMS', `${namespace}:answers:${portal}`, place)
    for (const [at, told] of found?.[0][1] ?? []) {
      place = at
      const answer = {}
      for (let i = 0; i < told.length; i += 2) answer[told[i]] = told[i + 1]
      if (answer.entry === id) return answer
    }
  }
  throw new Error('no answer yet: repeat it under the same key')
}

console.log(JSON.stringify(await answered()))
redis.disconnect()
