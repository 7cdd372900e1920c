// Loaded in front of a newer suite's own command line (node --import).  Its tests of interim responses look at them through
// the package undici, whose dispatcher must be the global one before the first fetch; node's own, where it is older than the
// package, understands none of what the suite hangs into it.
import { createRequire } from 'node:module'

try {
  createRequire(`${process.cwd()}/package.json`)('undici')
} catch {
  // an older suite has no such tests
}
