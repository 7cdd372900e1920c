// What of the public suite runs in node, beside its own command line.
//   node driver.mjs list SUITE         its tests, as JSON
//   node driver.mjs http2 SUITE BASE   its client over HTTP/2: the results, as JSON, like those of its command line
// SUITE is a folder with the suite, as it is published or as its repository has it.
//
// Over HTTP/2 the requests and every check are the suite's own; only its fetch is ours, because its own speaks HTTP/1.1.
import fs from 'node:fs'
import http2 from 'node:http2'
import { createRequire } from 'node:module'
import path from 'node:path'
import { pathToFileURL } from 'node:url'

const REQUEST_MS = 20000
// Fields that HTTP/2 has no place for (RFC 9113 section 8.2.2).
const CONNECTION_FIELDS = new Set(['connection', 'keep-alive', 'proxy-connection', 'transfer-encoding', 'upgrade', 'host'])
// Names that node sends in one line only; others go out as the suite writes them.
const SINGLE = new Set(['authorization', 'if-match', 'if-modified-since', 'if-none-match', 'if-range',
  'if-unmodified-since', 'range', 'user-agent'])
const CONNECTIONS = 4

const [verb, suite, base] = process.argv.slice(2)

function load (...names) {
  const name = names.map(n => path.resolve(suite, n)).find(n => fs.existsSync(n))
  if (name === undefined) throw new Error(`${suite} has none of ${names.join(', ')}: is it the suite?`)
  return import(pathToFileURL(name))
}

async function loadTests () {
  const tests = (await load('tests/index.mjs')).default
  // An older suite's command line adds this one by itself.
  if (fs.existsSync(path.resolve(suite, 'tests/surrogate-control.mjs'))) {
    const more = (await load('tests/surrogate-control.mjs')).default
    if (!tests.some(t => t.id === more.id)) tests.push(more)
  }
  return tests
}

// As much of Headers as the suite asks for; several lines of a name are joined as fetch does it.
class Fields {
  constructor () { this.map = new Map() }
  add (name, value) {
    const before = this.map.get(name)
    this.map.set(name, before === undefined ? value : `${before}, ${value}`)
  }

  get (name) { return this.map.get(name.toLowerCase()) ?? null }
  has (name) { return this.map.has(name.toLowerCase()) }
  forEach (call) { this.map.forEach(call) }
  [Symbol.iterator] () { return this.map[Symbol.iterator]() }
}

// How a newer suite sees interim responses: it has undici's global dispatcher tell it.  In its place, one that sends nothing
// and remembers who wants to hear.
function installDispatcher () {
  let undici
  try {
    undici = createRequire(path.resolve(suite, 'package.json'))('undici')
  } catch {
    return // an older suite has no such tests
  }
  class Listening extends undici.Dispatcher {
    dispatch (interim, handler) {
      interim.tell = (status, fields) => handler.onResponseStart?.(null, status, fields)
      return true
    }
  }
  undici.setGlobalDispatcher(new Listening())
}

const sessions = []
let turn = 0

function session () {
  const i = turn++ % CONNECTIONS
  if (sessions[i] === undefined || sessions[i].closed || sessions[i].destroyed) {
    sessions[i] = http2.connect(base)
    sessions[i].on('error', () => {}) // each stream of it says so too
  }
  return sessions[i]
}

function fetchHttp2 (url, init = {}) {
  const at = new URL(url)
  const method = init.method ?? 'GET'
  const fields = { ':method': method, ':path': at.pathname + at.search }

  for (const [n, v] of init.headers ?? []) {
    const name = n.toLowerCase()
    if (CONNECTION_FIELDS.has(name)) continue
    if (!(name in fields)) fields[name] = String(v)
    else if (SINGLE.has(name)) fields[name] += `, ${v}`
    else fields[name] = [fields[name], String(v)].flat()
  }
  if (init.body !== undefined && !('content-type' in fields)) fields['content-type'] = 'text/plain;charset=UTF-8'
  const interim = { tell () {} }
  init.dispatcher?.dispatch(interim, { onRequestStart () {}, onResponseStart () {} })

  return new Promise((resolve, reject) => {
    const stream = session().request(fields, { endStream: init.body === undefined })
    const chunks = []
    let response
    let ended

    const body = new Promise((resolve, reject) => { ended = { resolve, reject } })
    body.catch(() => {})
    const fail = e => { reject(e); ended.reject(e) }
    stream.setTimeout(REQUEST_MS, () => { fail(new Error('no answer in time')); stream.close() })
    stream.on('headers', head => interim.tell(head[':status'], { ...head }))
    stream.on('response', (head, flags, raw) => {
      const headers = new Fields()
      for (let i = 0; i < raw.length; i += 2) if (raw[i][0] !== ':') headers.add(raw[i].toLowerCase(), raw[i + 1])
      response = { status: head[':status'], statusText: '', url, headers, text: () => body }
      resolve(response)
    })
    stream.on('data', d => chunks.push(d))
    stream.on('end', () => ended.resolve(Buffer.concat(chunks).toString()))
    stream.on('error', fail)
    stream.on('close', () => fail(new Error(`stream closed with ${stream.rstCode}`)))
    if (init.body !== undefined) stream.end(init.body)
  })
}

async function runHttp2 () {
  const tests = await loadTests()
  const { runTests, getResults } = await load('client/runner.mjs', 'test-engine/client/runner.mjs')

  installDispatcher()
  globalThis.fetch = fetchHttp2
  // Newer suites use the global one and have no argument for it.
  await (runTests.length >= 4 ? runTests(tests, fetchHttp2, false, base) : runTests(tests, false, base))
  return getResults()
}

const result = verb === 'list' ? await loadTests() : await runHttp2()
fs.writeSync(1, JSON.stringify(result))
process.exit(0)
