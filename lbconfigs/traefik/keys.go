package traefik

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/lbconfigs/reading"
)

// keySchema are the keys of one place in Traefik v3; a nil value is a scalar, a list of scalars or something unchecked.
// "*" is any name. Lists of maps have the keys of their elements.
type keySchema map[string]keySchema

// anyKey is a place whose keys are not checked.
var anyKey = keySchema{"*": nil}

// leafKeys returns keys with nothing below them.
func leafKeys(names string) keySchema {
	k := keySchema{}
	for _, n := range strings.Fields(names) {
		k[n] = nil
	}
	return k
}

// with adds a key with the keys below it.
func (k keySchema) with(name string, below keySchema) keySchema {
	k[name] = below
	return k
}

var (
	cookieSchema      = keySchema{"cookie": leafKeys("name secure httpOnly sameSite maxAge path domain")}
	ipStrategySchema  = leafKeys("depth excludedIPs ipv6Subnet")
	sourceSchema      = leafKeys("requestHeaderName requestHost").with("ipStrategy", ipStrategySchema)
	domainSchema      = leafKeys("main sans")
	routerTLSSchema   = leafKeys("options certResolver").with("domains", domainSchema)
	healthCheckSchema = leafKeys(`scheme mode path method status port interval unhealthyInterval timeout hostname
		followRedirects`).with("headers", anyKey)
	observabilitySchema = leafKeys("accessLogs metrics tracing traceVerbosity")
)

// dynamicSchema is the routing configuration
// (doc.traefik.io/traefik/reference/routing-configuration/other-providers/file).
var dynamicSchema = keySchema{
	"http": {
		"routers":           {"*": routerSchema},
		"services":          {"*": serviceSchema},
		"middlewares":       {"*": middlewareSchema},
		"serversTransports": anyKey,
	},
	"tcp": anyKey,
	"udp": anyKey,
	"tls": {
		"certificates": leafKeys("certFile keyFile stores"),
		"options": {"*": leafKeys(`minVersion maxVersion cipherSuites curvePreferences sniStrict alpnProtocols
			disableSessionTickets preferServerCipherSuites`).
			with("clientAuth", leafKeys("caFiles clientAuthType"))},
		"stores": anyKey,
	},
}

var routerSchema = leafKeys("entryPoints middlewares service parentRefs rule ruleSyntax priority").
	with("tls", routerTLSSchema).
	with("observability", observabilitySchema)

var serviceSchema = keySchema{
	"loadBalancer": leafKeys("passHostHeader serversTransport strategy").
		with("sticky", cookieSchema).
		with("servers", leafKeys("url weight preservePath")).
		with("healthCheck", healthCheckSchema).
		with("passiveHealthCheck", leafKeys("failureWindow maxFailedAttempts")).
		with("responseForwarding", leafKeys("flushInterval")),
	"weighted":            {"services": leafKeys("name weight"), "sticky": cookieSchema, "healthCheck": anyKey},
	"highestRandomWeight": {"services": leafKeys("name weight"), "healthCheck": anyKey},
	"mirroring": leafKeys("service mirrorBody maxBodySize").
		with("mirrors", leafKeys("name percent")).
		with("healthCheck", anyKey),
	"failover": leafKeys("service fallback").with("healthCheck", anyKey),
}

var middlewareSchema = keySchema{
	"addPrefix":        leafKeys("prefix"),
	"stripPrefix":      leafKeys("prefixes forceSlash"),
	"stripPrefixRegex": leafKeys("regex"),
	"replacePath":      leafKeys("path"),
	"replacePathRegex": leafKeys("regex replacement"),
	"chain":            leafKeys("middlewares"),
	"ipWhiteList":      leafKeys("sourceRange").with("ipStrategy", ipStrategySchema),
	"ipAllowList":      leafKeys("sourceRange rejectStatusCode").with("ipStrategy", ipStrategySchema),
	"headers": leafKeys(`accessControlAllowCredentials accessControlAllowHeaders accessControlAllowMethods
		accessControlAllowOriginList accessControlAllowOriginListRegex accessControlExposeHeaders
		accessControlMaxAge addVaryHeader allowedHosts hostsProxyHeaders stsSeconds stsIncludeSubdomains
		stsPreload forceSTSHeader frameDeny customFrameOptionsValue contentTypeNosniff browserXssFilter
		customBrowserXSSValue contentSecurityPolicy contentSecurityPolicyReportOnly publicKey referrerPolicy
		permissionsPolicy isDevelopment featurePolicy sslRedirect sslTemporaryRedirect sslHost sslForceHost`).
		with("customRequestHeaders", anyKey).
		with("customResponseHeaders", anyKey).
		with("sslProxyHeaders", anyKey),
	"errors":         leafKeys("status service query").with("statusRewrites", anyKey),
	"rateLimit":      leafKeys("average period burst").with("sourceCriterion", sourceSchema).with("redis", anyKey),
	"redirectRegex":  leafKeys("regex replacement permanent"),
	"redirectScheme": leafKeys("scheme port permanent"),
	"basicAuth":      leafKeys("users usersFile realm removeHeader headerField"),
	"digestAuth":     leafKeys("users usersFile realm removeHeader headerField"),
	"forwardAuth": leafKeys(`address trustForwardHeader authResponseHeaders authResponseHeadersRegex
		authRequestHeaders maxResponseBodySize addAuthCookiesToResponse headerField forwardBody maxBodySize
		preserveLocationHeader preserveRequestMethod`).
		with("tls", leafKeys("ca cert key insecureSkipVerify caOptional")),
	"inFlightReq": leafKeys("amount").with("sourceCriterion", sourceSchema),
	"buffering": leafKeys(`maxRequestBodyBytes memRequestBodyBytes maxResponseBodyBytes memResponseBodyBytes
		retryExpression`),
	"circuitBreaker": leafKeys("expression checkPeriod fallbackDuration recoveryDuration responseCode"),
	"compress": leafKeys(`excludedContentTypes includedContentTypes minResponseBodyBytes encodings
		defaultEncoding`),
	"passTLSClientCert":      anyKey,
	"retry":                  leafKeys("attempts initialInterval"),
	"contentType":            leafKeys("autoDetect"),
	"grpcWeb":                leafKeys("allowOrigins"),
	"plugin":                 anyKey,
	"requestHeaderModifier":  anyKey,
	"responseHeaderModifier": anyKey,
	"requestRedirect":        anyKey,
	"URLRewrite":             anyKey,
}

// staticSchema is the install configuration (doc.traefik.io/traefik/reference/install-configuration).
var staticSchema = keySchema{
	"global":                leafKeys("checkNewVersion sendAnonymousUsage"),
	"serversTransport":      anyKey,
	"tcpServersTransport":   anyKey,
	"entryPoints":           {"*": entryPointSchema},
	"providers":             providerSchema,
	"api":                   leafKeys("basePath insecure dashboard debug disableDashboardAd dashboardName"),
	"metrics":               anyKey,
	"ping":                  leafKeys("entryPoint manualRouting terminatingStatusCode"),
	"log":                   anyKey,
	"accessLog":             anyKey,
	"tracing":               anyKey,
	"hostResolver":          anyKey,
	"certificatesResolvers": anyKey,
	"experimental":          anyKey,
	"core":                  leafKeys("defaultRuleSyntax"),
	"spiffe":                anyKey,
	"ocsp":                  anyKey,
}

var entryPointSchema = leafKeys("address allowACMEByPass reusePort asDefault").
	with("transport", leafKeys("keepAliveMaxTime keepAliveMaxRequests").
		with("lifeCycle", leafKeys("requestAcceptGraceTimeout graceTimeOut")).
		with("respondingTimeouts", leafKeys("readTimeout writeTimeout idleTimeout"))).
	with("proxyProtocol", leafKeys("insecure trustedIPs")).
	with("forwardedHeaders", leafKeys("insecure trustedIPs connection")).
	with("http", leafKeys("middlewares encodeQuerySemicolons sanitizePath maxHeaderBytes").
		with("tls", routerTLSSchema).
		with("encodedCharacters", anyKey).
		with("redirections", keySchema{"entryPoint": leafKeys("to scheme permanent priority")})).
	with("http2", leafKeys("maxConcurrentStreams maxDecoderHeaderTableSize maxEncoderHeaderTableSize")).
	with("http3", leafKeys("advertisedPort")).
	with("udp", leafKeys("timeout")).
	with("observability", observabilitySchema)

var providerSchema = keySchema{
	"providersThrottleDuration": nil,
	"docker":                    anyKey,
	"swarm":                     anyKey,
	"file":                      leafKeys("directory watch filename debugLogGeneratedTemplate"),
	"kubernetesIngress":         anyKey,
	"kubernetesIngressNGINX":    anyKey,
	"kubernetesCRD":             anyKey,
	"kubernetesGateway":         anyKey,
	"knative":                   anyKey,
	"rest":                      anyKey,
	"consulCatalog":             anyKey,
	"nomad":                     anyKey,
	"ecs":                       anyKey,
	"consul":                    anyKey,
	"etcd":                      anyKey,
	"zooKeeper":                 anyKey,
	"redis":                     anyKey,
	"http":                      anyKey,
	"plugin":                    anyKey,
}

// replacedKeys are keys of other versions, in lower case, with what v3 has instead.
var replacedKeys = map[string]string{
	"frontends":          "http.routers (Traefik v2 and later)",
	"backends":           "http.services (Traefik v2 and later)",
	"defaultentrypoints": "entryPoints.NAME.asDefault: true",
	"pilot":              "remove it: Traefik Pilot no longer exists",
	"marathon":           "remove it: v3 has no Marathon provider",
	"rancher":            "remove it: v3 has no Rancher provider",
	"traefiklogsfile":    "log.filePath",
	"web":                "api and ping",
	"acme":               "certificatesResolvers.NAME.acme",
}

// unknownKeys calls report for each key that Traefik v3 does not have in its place, with the keys that it has there.
func (k keySchema) unknownKeys(t *reading.Tree, report func(unknown *reading.Tree, known []string)) {
	for _, e := range t.Items() {
		k.unknownKeys(e, report)
	}
	for _, f := range t.Parts() {
		below, ok := k.find(f.Key)
		if !ok {
			report(f, slices.Sorted(maps.Keys(k)))
			continue
		}
		if below != nil {
			below.unknownKeys(f, report)
		}
	}
}

func (k keySchema) find(name string) (keySchema, bool) {
	for known, below := range k {
		if strings.EqualFold(known, name) {
			return below, true
		}
	}
	below, ok := k["*"]
	return below, ok
}

// unknownStaticKey reports a key that the static file does not have.
func (r *reader) unknownStaticKey(unknown *reading.Tree, known []string) {
	r.unknownKey(model.Rejected, "does not start", unknown, known, dynamicSchema, "a file of providers.file, not this file")
}

// unknownDynamicKey reports a key that dynamic files do not have.
func (r *reader) unknownDynamicKey(unknown *reading.Tree, known []string) {
	const consequence = "ignores the whole file (its routers respond 404)"
	r.unknownKey(model.Dropped, consequence, unknown, known, staticSchema, "the static configuration, not this file")
}

// unknownKey reports a key that its file does not have. If the other kind of file has it, place is where it belongs.
func (r *reader) unknownKey(effect model.Effect, consequence string, unknown *reading.Tree, known []string, other keySchema,
	place string,
) {
	instead := replacedKeys[strings.ToLower(unknown.Key)]
	if _, ok := other.find(unknown.Key); ok && instead == "" {
		instead = place
	}
	r.problem(model.Problem{
		Pos: unknown.Pos, Effect: effect, Instead: cmp.Or(instead, reading.Nearest(unknown.Key, known), "remove it"),
		Text: fmt.Sprintf("%s: unknown key in Traefik v3, which %s", unknown.Key, consequence),
	})
}
