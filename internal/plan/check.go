package plan

// Check names a kind of claim. The table in scenarios/checks has every name once, with the law that judges it.
type Check string

// The checks.
const (
	CheckWeights     Check = "weights"     // a pool distributes requests by weight
	CheckAlgorithm   Check = "algorithm"   // other balancing algorithms of a pool
	CheckBackup      Check = "backup"      // backups serve only while all others are down
	CheckDrained     Check = "drained"     // disabled servers get no requests
	CheckConns       Check = "conns"       // requests in flight per server
	CheckSplit       Check = "split"       // shares of the traffic per pool
	CheckSticky      Check = "sticky"      // clients stay with their server
	CheckPassive     Check = "passive"     // failed requests eject a server
	CheckActive      Check = "active"      // health checks eject a server
	CheckRetries     Check = "retries"     // which requests are retried
	CheckFallback    Check = "fallback"    // the response if no server is available
	CheckBreaker     Check = "breaker"     // circuit breaker
	CheckLimits      Check = "limits"      // rate and concurrency limits
	CheckRoutes      Check = "routes"      // which pool serves a request
	CheckRules       Check = "rules"       // conditional denials, redirects and rewrites
	CheckRedirects   Check = "redirects"   // redirects
	CheckAccess      Check = "access"      // access by client address
	CheckAuth        Check = "auth"        // access by an auth service or a password
	CheckAnswered    Check = "answered"    // every request is answered without an error
	CheckOnce        Check = "once"        // every request is delivered exactly once
	CheckHeaders     Check = "headers"     // request headers received by backends
	CheckResponse    Check = "response"    // response headers received by clients
	CheckEndpoint    Check = "endpoint"    // static responses of the balancer
	CheckAdmin       Check = "admin"       // admin and status pages of the balancer
	CheckCounters    Check = "counters"    // counters on these pages
	CheckLog         Check = "log"         // access log
	CheckTLS         Check = "tls"         // versions, ciphers, certificates
	CheckTimeouts    Check = "timeouts"    // timeouts of the balancer
	CheckFraming     Check = "framing"     // request boundaries, against request smuggling
	CheckBody        Check = "body"        // size limit of request bodies
	CheckCompression Check = "compression" // compression of responses
	CheckWebSocket   Check = "websocket"   // WebSocket tunnels
	CheckMirror      Check = "mirror"      // copies of requests to another pool
	CheckKeepalive   Check = "keepalive"   // reuse of connections to backends
	CheckResolve     Check = "resolve"     // when host names are resolved
	CheckReload      Check = "reload"      // a reload loses no request
	CheckRestarts    Check = "restarts"    // no container restarts or runs out of memory
	CheckQueries     Check = "queries"     // series in rules of Prometheus
	CheckExpect      Check = "expect"      // expectations of the scenario
)

// Checks are the names of all checks, in the order of the table in scenarios/checks.
var Checks = []Check{
	CheckWeights, CheckAlgorithm, CheckBackup, CheckDrained, CheckConns, CheckSplit, CheckSticky, CheckPassive,
	CheckActive, CheckRetries, CheckFallback, CheckBreaker, CheckLimits, CheckRoutes, CheckRules,
	CheckRedirects, CheckAccess, CheckAuth, CheckAnswered, CheckOnce, CheckHeaders, CheckResponse,
	CheckEndpoint, CheckAdmin, CheckCounters, CheckLog, CheckTLS, CheckTimeouts, CheckFraming, CheckBody,
	CheckCompression, CheckWebSocket, CheckMirror, CheckKeepalive, CheckResolve, CheckReload, CheckRestarts,
	CheckQueries, CheckExpect,
}

// ToChecks converts names to checks, without validation.
func ToChecks(names []string) []Check {
	var all []Check
	for _, name := range names {
		all = append(all, Check(name))
	}
	return all
}
