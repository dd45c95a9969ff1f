import { existsSync } from 'node:fs'
import { chromium, type Browser } from 'playwright-core'
import { missing } from './private-process.ts'

const executablePath = ['/usr/bin/chromium', '/usr/bin/chromium-browser'].find(path => existsSync(path))

/** What to give as tap's `skip` to a test that needs a browser. */
export const noBrowser = executablePath === undefined && missing('no browser to test with: apt-get install chromium')

/** A browser that asks nobody on its own. */
export async function launch (): Promise<Browser> {
  return chromium.launch({
    ...(executablePath !== undefined && { executablePath }),
    args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
      '--disable-background-networking', '--disable-component-update', '--disable-sync'
    ]
  })
}
