import type { FastifyReply } from 'fastify'
import { assertGroup, assertOption } from '../plugin/options.ts'
import { cookieRemover, type CookieIdentity } from './cookie.ts'
import { clearSiteDataHeader, type SiteData } from './site-data.ts'

/** What a browser deletes besides the credential of a session that has ended. */
export interface ClearOptions {
  /** Further cookies to remove together with the credential, each with the attributes that it was set with. @default [] */
  readonly cookies?: readonly CookieIdentity[] | undefined
  /** Sent as `Clear-Site-Data` when the current session is logged out over https. @default [] */
  readonly siteData?: readonly SiteData[] | undefined
}

/** The members of {@link ClearOptions}: beside the option `clear` they would have no effect. */
export const clearMembers: ReadonlyArray<keyof ClearOptions> = ['cookies', 'siteData']

/** Makes a browser delete things, by the headers of a reply. */
export interface Clear {
  cookies (reply: FastifyReply): void
  siteData (reply: FastifyReply): void
}

/**
 * Makes the {@link Clear} of the option `clear`.
 *
 * @throws {TypeError} for a cookie that browsers would not remove, and for an unknown directive
 */
export function clearing (options: ClearOptions = {}, caller: string): Clear {
  assertGroup(options, caller, 'clear', '{ cookies, siteData }')
  const { cookies = [] } = options
  assertOption(Array.isArray(cookies), caller, 'clear.cookies', 'must be a list of cookies')
  const removals = cookies.map(cookie => cookieRemover(cookie, caller, 'clear.cookies'))
  const siteData = clearSiteDataHeader(options.siteData, caller, 'clear.siteData')
  return {
    cookies: reply => { for (const remove of removals) remove(reply) },
    siteData: reply => { if (siteData !== '') reply.header('clear-site-data', siteData) }
  }
}
