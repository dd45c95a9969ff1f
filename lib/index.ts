export { globalTokenRevocation } from './flows/global-token-revocation.ts'
export type { CommandEffectsOptions, GlobalTokenRevocationOptions, RevocationCommand } from './flows/global-token-revocation.ts'
export type {
  AttemptDelivery, DeadDelivery, DeadDeliveryQuery, Delivery, DeliveryOutcome, DeliveryQueue, DeliveryWorkOptions, StopDelivering
} from './delivery-queue.ts'
export { kratosAdmin } from './flows/kratos-admin.ts'
export type { KratosAdminOptions } from './flows/kratos-admin.ts'
export { kratosBrowserLogout } from './flows/kratos-browser.ts'
export type { KratosBrowserLogoutOptions, KratosReturnUrlOptions } from './flows/kratos-browser.ts'
export { kratosLogout } from './flows/kratos-native.ts'
export type { KratosLogoutOptions } from './flows/kratos-native.ts'
export { kratosSessions } from './flows/kratos-sessions.ts'
export type { KratosSessionsOptions } from './flows/kratos-sessions.ts'
export { frontChannelLogout } from './flows/openid-front-channel.ts'
export type { FrontChannelCookie, FrontChannelLogoutOptions, FrontChannelRouteOptions } from './flows/openid-front-channel.ts'
export { rpInitiatedLogout } from './flows/openid-rp-initiated.ts'
export type { RpInitiatedLogoutOptions, RpInitiatedLogoutPlugin, RpInitiatedRouteOptions } from './flows/openid-rp-initiated.ts'
export { backChannelLogout } from './flows/openid-back-channel.ts'
export type {
  BackChannelLogout, BackChannelLogoutOptions, BackChannelLogoutPlugin, BackChannelRouteOptions, BackChannelTokenOptions
} from './flows/openid-back-channel.ts'
export { securityEvents } from './flows/security-events.ts'
export type { SecurityEventsOptions } from './flows/security-events.ts'
export { sessionLogout } from './flows/session.ts'
export type { LogoutCsrfOptions, LogoutScope, LogoutScopeOptions, SessionLogoutOptions, SessionLogoutPlugin } from './flows/session.ts'
export { signingHubLogout } from './flows/signinghub.ts'
export type {
  DeviceTokenOptions, DeviceTokenOutcome, DeviceTokenRemoval, SigningHubActivity, SigningHubLogoutOptions, SigningHubUser,
  SigningHubUserOptions
} from './flows/signinghub.ts'
export { tenantStatusLogout } from './flows/tenant-status.ts'
export type {
  RestrictionQuery, TenantLogout, TenantStatusLogoutOptions, TenantUserOptions
} from './flows/tenant-status.ts'
export type { TenantErrorCodes, TenantWireOptions } from './internal/tenant-status/wire.ts'
export { tokenRevocation } from './flows/token-revocation.ts'
export type { TokenRevocationOptions, TokenToRevoke } from './flows/token-revocation.ts'
export { revocationGuard } from './guards/revocation.ts'
export type { RevocationGuardOptions, RevocationRefusal } from './guards/revocation.ts'
export { tenantActivity } from './guards/tenant-activity.ts'
export type { ActiveUser, TenantActivityOptions } from './guards/tenant-activity.ts'
export type { Awaitable, Immediate, Promised } from './awaitable.ts'
export type {
  DeliveryMessage, DiagnosticsMessages, GuardMessage, LogoutMessage, LogoutSummary, OutageMessage, RefusalMessage, RequestMessage
} from './internal/plugin/diagnostics.ts'
export type { EndSessionIssuer, SessionProvider } from './internal/openid/rp-provider.ts'
export type { KratosIdKind } from './internal/kratos/id.ts'
export type { KratosIdentity } from './internal/kratos/session.ts'
export { logoutActions } from './logout-actions.ts'
export type { LogoutActions } from './logout-actions.ts'
export type { ClaimOptions } from './internal/jose/expected-claims.ts'
export type { HttpOptions } from './internal/http/json-request.ts'
export type { CrossSiteOptions } from './internal/http/cross-site.ts'
export type { ClientAssertion, ClientCredentials } from './internal/oauth/client-credentials.ts'
export type { LimitedRouteOptions } from './internal/oauth/limited-route.ts'
export type { LogoutError, LogoutErrorCode } from './internal/session-logout/error.ts'
export type { SourceRevocations } from './internal/session-logout/marks.ts'
export type { LogoutRouteOptions, ReturnUrlOptions, RouteOptions } from './internal/session-logout/route.ts'
export type { LogoutActionsOptions } from './internal/session-logout/steps.ts'
export { clientLogouts, logoutNotifier, notifyFirst } from './logout-notifier.ts'
export type { EndedSessions } from './logout-notifier.ts'
export type {
  BackChannelClient, DeliveredUser, LogoutClient, SecurityEventsClient, WebhookClient
} from './internal/delivery/clients.ts'
export type { ClientLogout } from './internal/delivery/deliveries.ts'
export type { DeliveryLog } from './internal/delivery/attempt.ts'
export type {
  DeliveryLimits, DeliveryNetwork, LogoutNotifier, LogoutNotifierOptions, NotifyOptions, SignMessage
} from './internal/delivery/notifier.ts'
export type { EndingSession, EndingSessions, SessionsEnd } from './internal/delivery/notify-first.ts'
export type { SigningKey } from './internal/jose/jwt-signer.ts'
export type { LogoutEvent, OnLogout, SubjectLogoutEvent } from './logout-event.ts'
export { credentialOf, logoutMarks } from './internal/revocation/logout-marks.ts'
export type { LogoutMarksOptions } from './internal/revocation/logout-marks.ts'
export type { LogoutRevocation } from './internal/revocation/logout-revocation.ts'
export type { MysqlClient, MysqlQueries, MysqlStatement } from './internal/databases/mysql.ts'
export type { PostgresClient } from './internal/databases/postgres.ts'
export { principalOf } from './principal.ts'
export type { Principal, PrincipalOf } from './principal.ts'
export type { BoundSession, ProviderLogin, ProviderLogout, ProviderSessionIndex } from './provider-session-index.ts'
export type { LogoutTokenIssuer, LogoutTokenTolerance } from './internal/openid/logout-issuer.ts'
export type { IoredisLike, NodeRedisLike, RedisClient } from './internal/databases/redis.ts'
export type { RevocationCheckOptions, WhenUnavailable } from './internal/revocation/check.ts'
export { revocationReplica } from './internal/revocation/replica.ts'
export type { RevocationReplica, RevocationReplicaOptions } from './internal/revocation/replica.ts'
export type {
  Credential, FeedPage, FollowableRevocationStore, Mark, MarkScope, RevocationFeed, RevocationSource, RevocationStore, SessionMark,
  SubjectMark, TokenMark, Verdict
} from './revocation-store.ts'
export type { CookieIdentity, CredentialCookie } from './internal/http/cookie.ts'
export type { ClearOptions } from './internal/http/clear.ts'
export type { SiteData } from './internal/http/site-data.ts'
export type { SessionCookie } from './internal/kratos/session-cookie.ts'
export type {
  EventSessionsStore, OfTenant, SubjectSessionsStore, UserEffects,
  UserRevocation
} from './internal/security-events/end-users.ts'
export type { AuthenticatedSender, AuthenticateSender, SenderTokenOptions } from './internal/security-events/command-sender.ts'
export type { RevocationSender } from './internal/security-events/revocation-token.ts'
export type {
  AccountSubject, AliasesSubject, ComplexSubject, DidSubject, EmailSubject, IpAddressesSubject, IssuerSubject, JwtIdSubject, OpaqueSubject,
  PhoneNumberSubject, SamlAssertionSubject, SimpleSubject, SubjectIdentifier, UnknownSubject, UriSubject, UserSubject
} from './internal/security-events/subject-identifier.ts'
export { securityEventPoller } from './security-event-poller.ts'
export type { PolledEventStream, SecurityEventPoller, SecurityEventPollerOptions } from './internal/security-events/poller.ts'
export type { SubjectTolerance } from './internal/security-events/event-subject.ts'
export type { EventAction } from './internal/security-events/event-types.ts'
export type { EventEffectsOptions, SecurityEvent, SecurityEventOptions } from './internal/security-events/receiver.ts'
export type { SecurityEventStream } from './internal/security-events/streams.ts'
export type { MessageIssuer } from './internal/jose/signed-message.ts'
export type { UsedTokenStore } from './internal/security-events/used-tokens.ts'
export type { AffectedUser, EventSender, ResolveSubject } from './internal/security-events/users.ts'
export type { HostSession, SessionsById, SessionSource, SubjectSessions } from './session-source.ts'
export type { NewSession, Session, SessionDevice, SessionPage, SessionStore, SubjectLogout } from './session-store.ts'
export type { SqliteDatabase, SqliteStatement } from './internal/databases/sqlite.ts'
export type { LogoutRateLimit, RateLimitCount, RateLimitStore } from './internal/plugin/rate-limit.ts'
export { isTokenRejected, TokenRejectedError } from './token-verifier.ts'
export type { Claims, TokenRejectionReason, VerifyToken } from './token-verifier.ts'
export { tokenDigest } from './token-digest.ts'
export type { StatusChange, UserKey, UserRecords, UserStatus, UserStatusStore, Version } from './user-status-store.ts'
