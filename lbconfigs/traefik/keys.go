package traefik

import (
	"fmt"
	"strings"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/lbconfigs/reading"
)

// keys are the keys that Traefik v3 takes in one place; a nil value is a scalar, a list of scalars or something that is
// not looked into. "*" is any name. Lists of maps take the keys of their elements.
type keys map[string]keys

// any is a place whose keys are not looked at.
var anyKeys = keys{"*": nil}

// flat are keys without anything below.
func flat(names string) keys {
	k := keys{}
	for _, n := range strings.Fields(names) {
		k[n] = nil
	}
	return k
}

// with adds places to keys.
func (k keys) with(name string, below keys) keys {
	k[name] = below
	return k
}

var (
	cookieKeys = keys{"cookie": flat("name secure httpOnly sameSite maxAge path domain")}
	sourceKeys = flat("requestHeaderName requestHost").with("ipStrategy", flat("depth excludedIPs ipv6Subnet"))
	domainKeys = flat("main sans")
	tlsUseKeys = flat("options certResolver").with("domains", domainKeys)
	healthKeys = flat(`scheme mode path method status port interval unhealthyInterval timeout hostname
		followRedirects`).with("headers", anyKeys)
	observeKeys = flat("accessLogs metrics tracing traceVerbosity")
)

// dynamicKeys is the routing configuration
// (doc.traefik.io/traefik/reference/routing-configuration/other-providers/file).
var dynamicKeys = keys{
	"http": {
		"routers":           {"*": routerKeys},
		"services":          {"*": serviceKeys},
		"middlewares":       {"*": middlewareKeys},
		"serversTransports": anyKeys,
	},
	"tcp": anyKeys,
	"udp": anyKeys,
	"tls": {
		"certificates": flat("certFile keyFile stores"),
		"options": {"*": flat(`minVersion maxVersion cipherSuites curvePreferences sniStrict alpnProtocols
			disableSessionTickets preferServerCipherSuites`).
			with("clientAuth", flat("caFiles clientAuthType"))},
		"stores": anyKeys,
	},
}

var routerKeys = flat("entryPoints middlewares service parentRefs rule ruleSyntax priority").
	with("tls", tlsUseKeys).
	with("observability", observeKeys)

var serviceKeys = keys{
	"loadBalancer": flat("passHostHeader serversTransport strategy").
		with("sticky", cookieKeys).
		with("servers", flat("url weight preservePath")).
		with("healthCheck", healthKeys).
		with("passiveHealthCheck", flat("failureWindow maxFailedAttempts")).
		with("responseForwarding", flat("flushInterval")),
	"weighted":            {"services": flat("name weight"), "sticky": cookieKeys, "healthCheck": anyKeys},
	"highestRandomWeight": {"services": flat("name weight"), "healthCheck": anyKeys},
	"mirroring": flat("service mirrorBody maxBodySize").
		with("mirrors", flat("name percent")).
		with("healthCheck", anyKeys),
	"failover": flat("service fallback").with("healthCheck", anyKeys),
}

var middlewareKeys = keys{
	"addPrefix":        flat("prefix"),
	"stripPrefix":      flat("prefixes forceSlash"),
	"stripPrefixRegex": flat("regex"),
	"replacePath":      flat("path"),
	"replacePathRegex": flat("regex replacement"),
	"chain":            flat("middlewares"),
	"ipWhiteList":      flat("sourceRange").with("ipStrategy", flat("depth excludedIPs ipv6Subnet")),
	"ipAllowList":      flat("sourceRange rejectStatusCode").with("ipStrategy", flat("depth excludedIPs ipv6Subnet")),
	"headers": flat(`accessControlAllowCredentials accessControlAllowHeaders accessControlAllowMethods
		accessControlAllowOriginList accessControlAllowOriginListRegex accessControlExposeHeaders
		accessControlMaxAge addVaryHeader allowedHosts hostsProxyHeaders stsSeconds stsIncludeSubdomains
		stsPreload forceSTSHeader frameDeny customFrameOptionsValue contentTypeNosniff browserXssFilter
		customBrowserXSSValue contentSecurityPolicy contentSecurityPolicyReportOnly publicKey referrerPolicy
		permissionsPolicy isDevelopment featurePolicy sslRedirect sslTemporaryRedirect sslHost sslForceHost`).
		with("customRequestHeaders", anyKeys).
		with("customResponseHeaders", anyKeys).
		with("sslProxyHeaders", anyKeys),
	"errors":         flat("status service query").with("statusRewrites", anyKeys),
	"rateLimit":      flat("average period burst").with("sourceCriterion", sourceKeys).with("redis", anyKeys),
	"redirectRegex":  flat("regex replacement permanent"),
	"redirectScheme": flat("scheme port permanent"),
	"basicAuth":      flat("users usersFile realm removeHeader headerField"),
	"digestAuth":     flat("users usersFile realm removeHeader headerField"),
	"forwardAuth": flat(`address trustForwardHeader authResponseHeaders authResponseHeadersRegex
		authRequestHeaders maxResponseBodySize addAuthCookiesToResponse headerField forwardBody maxBodySize
		preserveLocationHeader preserveRequestMethod`).
		with("tls", flat("ca cert key insecureSkipVerify caOptional")),
	"inFlightReq": flat("amount").with("sourceCriterion", sourceKeys),
	"buffering": flat(`maxRequestBodyBytes memRequestBodyBytes maxResponseBodyBytes memResponseBodyBytes
		retryExpression`),
	"circuitBreaker": flat("expression checkPeriod fallbackDuration recoveryDuration responseCode"),
	"compress": flat(`excludedContentTypes includedContentTypes minResponseBodyBytes encodings
		defaultEncoding`),
	"passTLSClientCert":      anyKeys,
	"retry":                  flat("attempts initialInterval"),
	"contentType":            flat("autoDetect"),
	"grpcWeb":                flat("allowOrigins"),
	"plugin":                 anyKeys,
	"requestHeaderModifier":  anyKeys,
	"responseHeaderModifier": anyKeys,
	"requestRedirect":        anyKeys,
	"URLRewrite":             anyKeys,
}

// staticKeys is the install configuration (doc.traefik.io/traefik/reference/install-configuration).
var staticKeys = keys{
	"global":                flat("checkNewVersion sendAnonymousUsage"),
	"serversTransport":      anyKeys,
	"tcpServersTransport":   anyKeys,
	"entryPoints":           {"*": entryPointKeys},
	"providers":             providerKeys,
	"api":                   flat("basePath insecure dashboard debug disableDashboardAd dashboardName"),
	"metrics":               anyKeys,
	"ping":                  flat("entryPoint manualRouting terminatingStatusCode"),
	"log":                   anyKeys,
	"accessLog":             anyKeys,
	"tracing":               anyKeys,
	"hostResolver":          anyKeys,
	"certificatesResolvers": anyKeys,
	"experimental":          anyKeys,
	"core":                  flat("defaultRuleSyntax"),
	"spiffe":                anyKeys,
	"ocsp":                  anyKeys,
}

var entryPointKeys = flat("address allowACMEByPass reusePort asDefault").
	with("transport", flat("keepAliveMaxTime keepAliveMaxRequests").
		with("lifeCycle", flat("requestAcceptGraceTimeout graceTimeOut")).
		with("respondingTimeouts", flat("readTimeout writeTimeout idleTimeout"))).
	with("proxyProtocol", flat("insecure trustedIPs")).
	with("forwardedHeaders", flat("insecure trustedIPs connection")).
	with("http", flat("middlewares encodeQuerySemicolons sanitizePath maxHeaderBytes").
		with("tls", tlsUseKeys).
		with("encodedCharacters", anyKeys).
		with("redirections", keys{"entryPoint": flat("to scheme permanent priority")})).
	with("http2", flat("maxConcurrentStreams maxDecoderHeaderTableSize maxEncoderHeaderTableSize")).
	with("http3", flat("advertisedPort")).
	with("udp", flat("timeout")).
	with("observability", observeKeys)

var providerKeys = keys{
	"providersThrottleDuration": nil,
	"docker":                    anyKeys,
	"swarm":                     anyKeys,
	"file":                      flat("directory watch filename debugLogGeneratedTemplate"),
	"kubernetesIngress":         anyKeys,
	"kubernetesIngressNGINX":    anyKeys,
	"kubernetesCRD":             anyKeys,
	"kubernetesGateway":         anyKeys,
	"knative":                   anyKeys,
	"rest":                      anyKeys,
	"consulCatalog":             anyKeys,
	"nomad":                     anyKeys,
	"ecs":                       anyKeys,
	"consul":                    anyKeys,
	"etcd":                      anyKeys,
	"zooKeeper":                 anyKeys,
	"redis":                     anyKeys,
	"http":                      anyKeys,
	"plugin":                    anyKeys,
}

// oldKeys are keys of other versions, with what v3 has instead.
var oldKeys = map[string]string{
	"frontends":          "http.routers (Traefik v2 and later)",
	"backends":           "http.services (Traefik v2 and later)",
	"defaultentrypoints": "entryPoints.NAME.asDefault: true",
	"pilot":              "leave it out: Traefik Pilot has ended",
	"marathon":           "leave it out: v3 has no Marathon provider",
	"rancher":            "leave it out: v3 has no Rancher provider",
	"traefiklogsfile":    "log.filePath",
	"web":                "api and ping",
	"acme":               "certificatesResolvers.NAME.acme",
}

// strangers lists the parts that Traefik v3 takes no such key for.
func (k keys) strangers(t *reading.Tree, found func(t *reading.Tree, nearest string)) {
	for _, e := range t.Items() {
		k.strangers(e, found)
	}
	for _, f := range t.Parts() {
		below, ok := k.find(f.Key)
		if !ok {
			found(f, k.nearest(f.Key))
			continue
		}
		if below != nil {
			below.strangers(f, found)
		}
	}
}

func (k keys) find(name string) (keys, bool) {
	for known, below := range k {
		if strings.EqualFold(known, name) {
			return below, true
		}
	}
	below, ok := k["*"]
	return below, ok
}

// nearest is the key that a stranger was probably meant to be.
func (k keys) nearest(name string) string {
	if now, ok := oldKeys[strings.ToLower(name)]; ok {
		return now
	}
	best, at := "", 4
	for known := range k {
		if d := distance(strings.ToLower(known), strings.ToLower(name)); d < at || d == at && known < best {
			best, at = known, d
		}
	}
	return best
}

// distance is how many letters must be changed, put in or left out to make one word of the other (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		diagonal := row[0]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			diagonal, row[j] = row[j], min(row[j]+1, row[j-1]+1, diagonal+cost)
		}
	}
	return row[len(b)]
}

// stranger is the problem with a key of another version.
func stranger(t *reading.Tree, nearest string, static bool) model.Problem {
	p := model.Problem{Pos: t.Pos, Effect: model.Dropped, Instead: nearest}
	p.Text = fmt.Sprintf("Traefik v3 has no key %s here and drops the whole file: "+
		"it starts, and every router of the file answers 404", t.Key)
	if static {
		p.Effect, p.Text = model.Rejected, fmt.Sprintf("Traefik v3 has no key %s here and does not start", t.Key)
	}
	return p
}
