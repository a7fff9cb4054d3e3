package traefik

import (
	"slices"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/lbconfigs/reading"
)

// advice is the usual cause of each refuted claim with Traefik, and what to write instead. Entries with a detail come
// first, since the first match applies.
var advice = slices.Concat([]model.Advice{
	{
		Check: string(plan.CheckWeights),
		Why: "A server was unhealthy, or a sticky cookie pinned clients to it; a name with several addresses is a " +
			"single server.",
		Instead: "`servers: [{url: \"http://a:80\", weight: 2}, {url: \"http://b:80\"}]` in loadBalancer, without " +
			"`sticky`.",
	},
	{
		Check: string(plan.CheckAlgorithm),
		Why: "p2c compares requests in flight, not weights, and hrw hashes the client address: behind another proxy " +
			"all clients may have the same.",
		Instead: "`strategy: wrr` where weights must hold; `hrw` and `leasttime` need Traefik 3.6 or later.",
	},
	{
		Check: string(plan.CheckBackup),
		Why: "Traefik has no backup servers: its failover service needs a health check on the main service and " +
			"switches only when all its servers are unhealthy.",
		Instead: "`failover: {service: main, fallback: spare}` with `healthCheck: {}`, and `healthCheck: {path: /health, " +
			"interval: 2s}` in the loadBalancer of main.",
	},
	{
		Check:   string(plan.CheckDrained),
		Why:     "A server of weight 0 gets no requests from this service, but another service may list the same URL.",
		Instead: "`weight: 0` in every service that lists the URL, or remove the server.",
	},
	{
		Check: string(plan.CheckConns),
		Why: "Traefik has no limit of requests per server: inFlightReq counts per client address or host, for each " +
			"router.",
		Instead: "`inFlightReq: {amount: N}` in front of the service, or a limit in the server itself.",
	},
	{
		Check: string(plan.CheckSplit),
		Why: "A weighted service rotates request by request; the share of an unhealthy service goes to the others if " +
			"healthCheck is set.",
		Instead: "`weighted: {services: [{name: main, weight: 9}, {name: canary, weight: 1}]}` with `sticky` on both " +
			"levels if clients must stay on their side.",
	},
	{
		Check: string(plan.CheckSticky),
		Why: "The client did not send the cookie back (secure, domain or path did not match), its server was " +
			"unhealthy, or a weighted service above is not sticky.",
		Instead: "`sticky: {cookie: {name: lb, httpOnly: true}}` in the loadBalancer and in every weighted service above " +
			"it.",
	},
	{
		Check: string(plan.CheckPassive),
		Why: "passiveHealthCheck counts failures of a server's own requests within failureWindow, and only in Traefik " +
			"3.6 or later.",
		Instead: "`passiveHealthCheck: {failureWindow: 10s, maxFailedAttempts: 3}` in the loadBalancer.",
	},
	{
		Check: string(plan.CheckActive),
		Why: "One failed check takes a server out of rotation. Traefik checks servers one after another, so a hanging " +
			"one delays the others, and by default it follows redirects: a login page passes.",
		Instead: "`healthCheck: {path: /health, interval: 2s, timeout: 1s, status: 200, followRedirects: false}` in the " +
			"loadBalancer.",
	},
	{
		Check: string(plan.CheckRetries),
		Why: "The retry middleware repeats a request only until its header has been sent to a server, and the next " +
			"attempt follows the rotation, so that it may reach the same server.",
		Instead: "`retry: {attempts: 3, initialInterval: 100ms}` in the middlewares of the router, and a `healthCheck` " +
			"that takes the failed server out.",
	},
	{
		Check: string(plan.CheckFallback),
		Why: "The errors middleware replaces the body for the listed statuses only, and its own service must respond. " +
			"A failover service needs health checks.",
		Instead: "`errors: {status: [\"500-599\"], service: error-pages, query: \"/{status}.html\"}` in the middlewares " +
			"of the router.",
	},
	{
		Check: string(plan.CheckBreaker),
		Why: "The expression is evaluated every checkPeriod over the last 10 s, separately for each router, and " +
			"traffic of the moments before counts.",
		Instead: "`circuitBreaker: {expression: \"ResponseCodeRatio(500, 600, 0, 600) > 0.25\", checkPeriod: 100ms, " +
			"fallbackDuration: 10s, recoveryDuration: 10s}`.",
	},
	{
		Check: string(plan.CheckLimits),
		Why: "Each router has its own counters, requests that are only a little early are delayed instead of refused, " +
			"and inFlightReq counts per host by default. Behind another proxy all clients share an address.",
		Instead: "`rateLimit: {average: 10, period: 1s, burst: 20}` or `inFlightReq: {amount: 10, sourceCriterion: " +
			"{ipStrategy: {depth: 1}}}`; depth counts trusted proxies.",
	},
	{
		Check: string(plan.CheckRoutes),
		Why: "The router with the highest priority wins, and the default priority is the length of the rule, not how " +
			"specific it is.",
		Instead: "`priority: 100` in the router that must win; compare the host and path of the counter-example with its " +
			"rule.",
	},
	{
		Check: string(plan.CheckRules),
		Why: "Middlewares run in the order of the router's list, after those of the entry point; redirectRegex " +
			"matches the whole URL, and stripPrefix changes the path for the middlewares after it.",
		Instead: "Put redirects and access rules first in `middlewares: [...]`, and rewrites last.",
	},
	{
		Check: string(plan.CheckRedirects),
		Why: "redirectScheme sends 301 or 302 for GET and 308 or 307 for other methods; a router of higher priority, " +
			"or one of the entry point, may respond first.",
		Instead: "`redirectScheme: {scheme: https, permanent: true}`, or `http: {redirections: {entryPoint: {to: " +
			"websecure, scheme: https}}}` in the entry point.",
	},
	{
		Check: string(plan.CheckAccess),
		Why: "ipAllowList compares the address of the connection: behind another proxy that is the proxy's. A " +
			"middleware before it responds first.",
		Instead: "`ipAllowList: {sourceRange: [10.0.0.0/8], ipStrategy: {depth: 1}}` as the first middleware; depth " +
			"counts trusted proxies.",
	},
	{
		Check: string(plan.CheckAuth),
		Why: "Middlewares before the authentication respond first. forwardAuth passes a request on any 2xx, returns " +
			"the service's response otherwise, and 500 if the service cannot be reached.",
		Instead: "`forwardAuth: {address: \"http://auth:80/check\"}` or `basicAuth: {usersFile: FILE}` as the first " +
			"middleware of the router.",
	},
	{
		Check: string(plan.CheckAnswered),
		Why: "No server could answer: Traefik sends 503 if no server is healthy, 502 if the connection fails, 504 " +
			"after a timeout, and 404 if no router matches.",
		Instead: "`servers: [{url: \"http://HOST:PORT\"}]` with the port the backend listens on; `log: {level: DEBUG}` " +
			"shows the cause of each failure.",
	},
	{
		Check: string(plan.CheckOnce),
		Why: "Traefik's HTTP client sends a GET, HEAD, OPTIONS or TRACE again if a kept connection breaks before the " +
			"response, and the retry middleware adds attempts.",
		Instead: "No `retry` on routers whose requests must not run twice, and `serversTransports: {NAME: " +
			"{maxIdleConnsPerHost: -1}}` to stop reusing connections.",
	},
	{
		Check: string(plan.CheckHeaders),
		Why: "Traefik replaces X-Forwarded headers of clients it does not trust, and passes the Host header on unless " +
			"passHostHeader is false.",
		Instead: "`headers: {customRequestHeaders: {NAME: VALUE}}` in the middlewares of the router, and " +
			"`forwardedHeaders: {trustedIPs: [ADDRESS]}` in the entry point.",
	},
	{
		Check: string(plan.CheckResponse),
		Why: "Responses of a middleware before headers (rateLimit, authentication, redirects) do not pass through it, " +
			"and Strict-Transport-Security is sent over TLS only.",
		Instead: "`headers: {customResponseHeaders: {NAME: VALUE}}` as the first middleware, and `forceSTSHeader: true` " +
			"behind a proxy that terminates TLS.",
	},
	{
		Check: string(plan.CheckEndpoint),
		Why: "ping and metrics are on the entry point traefik (port 8080) unless they name another, and a router of " +
			"higher priority may take the path.",
		Instead: "`ping: {entryPoint: web}` in the static file, or a router to `ping@internal` with `manualRouting: true`.",
	},
	{
		Check: string(plan.CheckAdmin),
		Why: "The page is on the entry point traefik (port 8080) unless it names another, and without api.insecure " +
			"the dashboard needs a router to api@internal.",
		Instead: "`metrics: {prometheus: {entryPoint: metrics}}` and `api: {dashboard: true}` with a router to " +
			"`api@internal` that has an authentication.",
	},
	{
		Check: string(plan.CheckCounters),
		Why: "The counters start at 0 with the process, and do not include Traefik's own pages unless addInternals is " +
			"set.",
		Instead: "Read traefik_entrypoint_requests_total as a rate over time; `metrics: {addInternals: true}` counts " +
			"Traefik's own pages too.",
	},
	{
		Check: string(plan.CheckLog),
		Why: "bufferingSize delays lines, filters drop some, and requests to Traefik's own pages are not logged " +
			"unless addInternals is set.",
		Instead: "`accessLog: {filePath: /var/log/traefik/access.log}` without bufferingSize and filters.",
	},
	{
		Check: string(plan.CheckTLS), Detail: "versions",
		Why: "If routers of one host use different options, Traefik uses the default options for all of them.",
		Instead: "`tls: {options: {default: {minVersion: VersionTLS12}}}` in a dynamic file, or the same `options` in " +
			"every router of the host.",
	},
	{
		Check: string(plan.CheckTLS), Detail: "ciphers",
		Why: "cipherSuites governs TLS 1.2 and older only, by Go's names, and a router of the same host with other " +
			"options makes Traefik use the default ones.",
		Instead: "`tls: {options: {default: {cipherSuites: [TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256]}}}` in a dynamic file.",
	},
	{
		Check: string(plan.CheckTLS), Detail: "h2",
		Why:     "alpnProtocols of the TLS options replaces the default, which contains h2.",
		Instead: "`alpnProtocols: [h2, http/1.1]` in the TLS options, or no such line.",
	},
	{
		Check: string(plan.CheckTLS), Detail: "resumption",
		Why: "Go resumes sessions by tickets only; disableSessionTickets turns them off, and a restart forgets their " +
			"keys.",
		Instead: "Remove `disableSessionTickets: true` from the TLS options.",
	},
	{
		Check: string(plan.CheckTLS), Detail: "tickets",
		Why:     "Tickets are on by default, and another set of TLS options may apply to the host.",
		Instead: "`disableSessionTickets: true` in the TLS options that the router of the host uses.",
	},
	{
		Check: string(plan.CheckTLS), Detail: "certificate",
		Why: "Traefik picks the certificate by the host name the client asks for (SNI); without a matching one it " +
			"sends a self-signed default certificate.",
		Instead: "`tls: {certificates: [{certFile: FILE, keyFile: FILE}]}` for that host, or `stores: {default: " +
			"{defaultCertificate: {certFile: FILE, keyFile: FILE}}}`.",
	},
	{
		Check:   string(plan.CheckTLS),
		Why:     "If routers of one host use different TLS options, Traefik uses the default options for all of them.",
		Instead: "The same `tls: {options: NAME}` in every router of the host.",
	},
	{
		Check: string(plan.CheckTimeouts), Detail: "connect-to-a-server",
		Why: "dialTimeout (default 30s) applies to each attempt of the retry middleware. A host that refuses the " +
			"connection fails at once.",
		Instead: "`serversTransports: {NAME: {forwardingTimeouts: {dialTimeout: 3s}}}` with `serversTransport: NAME` in " +
			"the loadBalancer.",
	},
	{
		Check: string(plan.CheckTimeouts), Detail: "receive-a-response",
		Why: "Traefik waits for a response without limit unless responseHeaderTimeout is set, and then only for its " +
			"header.",
		Instead: "`serversTransports: {NAME: {forwardingTimeouts: {responseHeaderTimeout: 10s}}}` with `serversTransport: " +
			"NAME` in the loadBalancer.",
	},
	{
		Check: string(plan.CheckTimeouts), Detail: "receive-data-from-the-client",
		Why:     "readTimeout (default 60s) covers the whole request including its body, not the time between two reads.",
		Instead: "`transport: {respondingTimeouts: {readTimeout: 60s}}` in the entry point.",
	},
	{
		Check: string(plan.CheckTimeouts), Detail: "keep-an-idle-client-connection",
		Why: "idleTimeout (default 180s) runs between two requests; keepAliveMaxTime and keepAliveMaxRequests end " +
			"connections earlier.",
		Instead: "`transport: {respondingTimeouts: {idleTimeout: 180s}}` in the entry point.",
	},
	{
		Check:   string(plan.CheckTimeouts),
		Why:     "Timeouts of clients belong to the entry point, those of servers to a serversTransport.",
		Instead: "Compare the time in the counter-example with `respondingTimeouts` and `forwardingTimeouts`.",
	},
	{
		Check: string(plan.CheckFraming),
		Why: "Go's HTTP server drops Content-Length if there is Transfer-Encoding, and refuses different lengths. If " +
			"a request reached a backend as two, a plugin or a proxy in front has rewritten it.",
		Instead: "Run the latest patch release; keep the counter-example, it is a request-smuggling report.",
	},
	{
		Check:   string(plan.CheckBody),
		Why:     "Only the buffering middleware limits bodies; it reads the whole body before it sends the request on.",
		Instead: "`buffering: {maxRequestBodyBytes: 1048576}` in the middlewares of the router.",
	},
	{
		Check: string(plan.CheckCompression),
		Why: "Responses below minResponseBodyBytes (default 1024), of an excluded type or with a Content-Encoding are " +
			"not compressed, and clients choose among gzip, br and zstd.",
		Instead: "`compress: {minResponseBodyBytes: 1024, encodings: [gzip]}` in the middlewares of the router.",
	},
	{
		Check: string(plan.CheckWebSocket),
		Why: "A middleware (authentication, headers) refused or changed the handshake, or the server did not accept " +
			"it: compare the status of the counter-example.",
		Instead: "Remove middlewares that change Upgrade or Connection from the router, and use an `http://` URL for the " +
			"server.",
	},
	{
		Check:   string(plan.CheckMirror),
		Why:     "percent counts requests of this service, and bodies larger than maxBodySize are not mirrored.",
		Instead: "`mirroring: {service: main, mirrors: [{name: copy, percent: 100}], maxBodySize: -1}`.",
	},
	{
		Check: string(plan.CheckKeepalive),
		Why:   "The server closed the connection, or maxIdleConnsPerHost or idleConnTimeout (default 90s) did.",
		Instead: "`serversTransports: {NAME: {maxIdleConnsPerHost: 200}}` with `serversTransport: NAME` in the " +
			"loadBalancer, and no `Connection: close` from the servers.",
	},
	{
		Check: string(plan.CheckResolve),
		Why: "Traefik resolves a name for each new connection, but kept connections stay at the old address until " +
			"they are closed.",
		Instead: "`serversTransports: {NAME: {forwardingTimeouts: {idleConnTimeout: 10s}}}` with `serversTransport: NAME` " +
			"in the loadBalancer.",
	},
	{
		Check: string(plan.CheckReload),
		Why: "The file provider reads files that are only half written, and ignores them; the static file is not " +
			"reloaded at all.",
		Instead: "`providers: {file: {directory: DIR, watch: true}}`, and move a complete file into the directory with mv.",
	},
}, reading.Advice)
