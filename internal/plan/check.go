package plan

// Check names a kind of claim. The table in scenarios/checks has every name once, with its law.
type Check string

// The checks.
const (
	CheckWeights     Check = "weights"     // a pool's servers share its requests by their weights
	CheckAlgorithm   Check = "algorithm"   // how a pool chooses where it is not by turns
	CheckBackup      Check = "backup"      // backups wait for the others to fail
	CheckDrained     Check = "drained"     // servers out of rotation get nothing
	CheckConns       Check = "conns"       // requests in flight per server
	CheckSplit       Check = "split"       // shares of the traffic to different pools
	CheckSticky      Check = "sticky"      // a client stays with its server
	CheckPassive     Check = "passive"     // failed requests take a server out
	CheckActive      Check = "active"      // health checks take a server out
	CheckRetries     Check = "retries"     // what is sent again
	CheckFallback    Check = "fallback"    // who answers instead
	CheckBreaker     Check = "breaker"     // everything is refused after too many failures
	CheckLimits      Check = "limits"      // rates and numbers at a time
	CheckRoutes      Check = "routes"      // which request goes where
	CheckRules       Check = "rules"       // what a condition refuses, redirects or rewrites
	CheckRedirects   Check = "redirects"   // what is sent elsewhere
	CheckAccess      Check = "access"      // who is let in, by address
	CheckAuth        Check = "auth"        // who is let in, by another service or a password
	CheckAnswered    Check = "answered"    // no request is lost or failed
	CheckOnce        Check = "once"        // no request is delivered twice
	CheckHeaders     Check = "headers"     // request headers that reach the backend
	CheckResponse    Check = "response"    // response headers that reach the client
	CheckEndpoint    Check = "endpoint"    // what the balancer answers by itself
	CheckAdmin       Check = "admin"       // the balancer's own pages
	CheckCounters    Check = "counters"    // what those count
	CheckLog         Check = "log"         // what is written of requests
	CheckTLS         Check = "tls"         // versions, ciphers, certificates
	CheckTimeouts    Check = "timeouts"    // how long the balancer waits
	CheckFraming     Check = "framing"     // where a request ends
	CheckBody        Check = "body"        // how large requests may be
	CheckCompression Check = "compression" // what is made smaller
	CheckWebSocket   Check = "websocket"   // tunnels
	CheckMirror      Check = "mirror"      // copies of requests
	CheckKeepalive   Check = "keepalive"   // connections to backends
	CheckResolve     Check = "resolve"     // when names are looked up
	CheckReload      Check = "reload"      // a changed file loses no request
	CheckRestarts    Check = "restarts"    // no container restarts or runs out of memory
	CheckQueries     Check = "queries"     // what rules of Prometheus ask for
	CheckExpect      Check = "expect"      // what the scenario expects of its phases
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

// ToChecks gives names that somebody wrote their type; it does not look whether there are such checks.
func ToChecks(names []string) []Check {
	var all []Check
	for _, name := range names {
		all = append(all, Check(name))
	}
	return all
}
