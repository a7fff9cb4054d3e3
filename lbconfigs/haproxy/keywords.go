package haproxy

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/lbconfigs/reading"
)

// unreadReasons are the keywords of proxies that make no claim of their own, and why. Those that the reader evaluates
// have an empty reason.
var unreadReasons = reading.IndexReasons(map[string]string{
	"": `
		acl balance bind compression cookie default-server default_backend hash-type http-after-response
		http-check http-request http-response mode monitor-uri redirect retries retry-on server stats stick
		stick-table timeout use_backend`,
	reading.ReasonForm:    "description id enabled disabled",
	reading.ReasonContent: "errorfile errorfiles errorloc errorloc302 errorloc303 http-error",
	reading.ReasonLog:     "log log-format log-format-sd log-tag error-log-format capture email-alert declare",
	reading.ReasonFiles:   "load-server-state-from-file server-state-file-name",
	reading.ReasonLimits:  "maxconn backlog fullconn",
	reading.ReasonSpeed: `
		http-reuse max-keep-alive-queue clitcpka-cnt clitcpka-idle clitcpka-intvl srvtcpka-cnt srvtcpka-idle
		srvtcpka-intvl`,
	reading.ReasonUnread: `
		unique-id-format unique-id-header rate-limit http-send-name-header source use-server server-template
		external-check filter force-persist ignore-persist persist hash-balance-factor monitor tcp-check
		tcp-request tcp-response use-fcgi-app dispatch transparent`,
})

// knownOptions are the options of proxies, as unreadReasons.
var knownOptions = reading.IndexReasons(map[string]string{
	"": "forwardfor httpchk redispatch http-server-close httpclose http-keep-alive",
	reading.ReasonLog: `
		httplog tcplog dontlognull dontlog-normal log-health-checks log-separate-errors logasap httpslog clf`,
	reading.ReasonSpeed: `
		clitcpka contstats http-no-delay nolinger socket-stats splice-auto splice-request splice-response
		srvtcpka tcp-smart-accept tcp-smart-connect tcpka`,
	reading.ReasonUnread: `
		abortonclose accept-invalid-http-request accept-invalid-http-response allbackups checkcache
		disable-h2-upgrade forceclose http-buffer-request http-ignore-probes http-pretend-keepalive
		http-restrict-req-hdr-names http-use-proxy-header http-use-htx h1-case-adjust-bogus-client
		h1-case-adjust-bogus-server idle-close-on-response independent-streams ldap-check external-check
		mysql-check originalto persist pgsql-check prefer-last-server redis-check smtpchk spop-check
		ssl-hello-chk tcp-check transparent`,
})

// globalKeywords are the keywords of the global section, besides those of globalFamilies.
var globalKeywords = strings.Fields(`51degrees-cache-size busy-polling ca-base chroot close-spread-time
cluster-secret cpu-map crt-base daemon default-path description deviceatlas-json-file
expose-experimental-directives external-check fd-hard-limit gid grace group h1-accept-payload-with-any-method
h1-case-adjust h1-case-adjust-file h2-workaround-bogus-websocket-clients hard-stop-after insecure-fork-wanted
insecure-setuid-wanted issuers-chain-path localpeer log log-send-hostname log-tag master-worker max-spread-checks
maxcompcpuusage maxcomprate maxconn maxconnrate maxpipes maxsessrate maxsslconn maxsslrate maxzlibmem
mworker-max-reloads nbthread no no-memory-trimming node noepoll noevports nogetaddrinfo nokqueue nopoll
noreuseport nosplice numa-cpu-mapping pidfile pp2-never-send-local presetenv quiet resetenv server-state-base
server-state-file set-dumpable set-var set-var-fmt setenv spread-checks stats strict-limits thread-group
thread-groups uid ulimit-n unix-bind unsetenv user wurfl-data-file zero-warning`)

// globalFamilies are the prefixes of further keywords of the global section.
var globalFamilies = strings.Fields("tune. ssl- httpclient. lua- profiling. 51degrees- deviceatlas- wurfl-")

// serverValues are the options of servers whose value is the next word.
var serverValues = strings.Fields(`addr agent-addr agent-inter agent-port agent-send alpn ca-file check-alpn
check-proto check-sni ciphers ciphersuites client-sigalgs cookie crl-file crt curves downinter error-limit fall
fastinter id init-addr inter interface log-bufsize log-proto max-reuse maxconn maxqueue minconn namespace npn
observe on-error on-marked-down on-marked-up pool-low-conn pool-max-conn pool-purge-delay port proto
proxy-v2-options redir resolve-net resolve-opts resolve-prefer resolvers rise set-proxy-v2-tlv-fmt shard sigalgs
slowstart sni socks4 source ssl-max-ver ssl-min-ver tcp-ut track usesrc verify verifyhost weight ws`)

// replacedKeywords are old and similar keywords, with what HAProxy 2.6 has instead.
var replacedKeywords = map[string]string{
	"nbproc":          "nbthread: one process with several threads",
	"reqadd":          "http-request add-header NAME VALUE",
	"reqrep":          "http-request replace-header or replace-path",
	"reqirep":         "http-request replace-header or replace-path",
	"reqdel":          "http-request del-header NAME",
	"rspadd":          "http-response add-header NAME VALUE",
	"rspdel":          "http-response del-header NAME",
	"block":           "http-request deny if …",
	"clitimeout":      "timeout client",
	"srvtimeout":      "timeout server",
	"contimeout":      "timeout connect",
	"default-backend": "default_backend",
	"use-backend":     "use_backend",
	"health-check":    "option httpchk and server … check",
}

// keywords lists what makes no claim in a section, and reports unknown keywords.
func (r *reader) keywords(s section) {
	for _, l := range s.own {
		word := l.word(0)
		switch s.kind {
		case "global":
			r.globalKeyword(l)
		case "defaults", "frontend", "backend", "listen":
			r.proxyKeyword(l)
		default:
			r.unread(l, "lbproof derives no claim from a section "+s.kind)
		}
		if word == "acl" && len(l.words) > 2 {
			r.checkCriterion(l, l.wordsFrom(2))
			r.checkUnusedACL(s, l)
		}
	}
}

// proxyKeyword lists or reports the keyword of a line in a proxy section.
func (r *reader) proxyKeyword(l statement) {
	word := l.word(0)
	if word == "no" && l.word(1) == "option" {
		r.readNegatedOption(l)
		return
	}
	if word == "option" {
		r.option(l, l.word(1))
		return
	}
	reason, known := unreadReasons[word]
	if !known {
		r.unknownKeyword(l, word, slices.Concat(slices.Sorted(maps.Keys(unreadReasons)), sectionWords))
		return
	}
	r.unread(l, reason)
}

// option lists or reports an option of a proxy section.
func (r *reader) option(l statement, name string) {
	reason, known := knownOptions[name]
	if !known {
		var options []string
		for _, option := range slices.Sorted(maps.Keys(knownOptions)) {
			options = append(options, "option "+option)
		}
		r.unknownKeyword(l, "option "+name, options)
		return
	}
	r.unread(l, reason)
}

// unread lists a line that makes no claim; an empty reason is of one that is evaluated.
func (r *reader) unread(l statement, reason string) {
	if reason != "" {
		r.cfg.Unread = append(r.cfg.Unread, model.Unread{Pos: l.pos, Text: l.text(), Reason: reason})
	}
}

// unknownKeyword reports a keyword that HAProxy does not have, and lists its line.
func (r *reader) unknownKeyword(l statement, word string, known []string) {
	p := model.Problem{
		Pos: l.pos, Effect: model.Rejected, Instead: replacedKeywords[word],
		Text: strings.TrimSpace(word) + ": unknown keyword in HAProxy 2.6",
	}
	if p.Instead == "" {
		p.Text += reading.DidYouMean(word, known)
	}
	r.problem(p)
	r.unread(l, reading.ReasonUnread)
}

func (r *reader) globalKeyword(l statement) {
	word := l.word(0)
	if word == "ssl-default-bind-ciphers" || word == "ssl-default-bind-options" {
		return // read with the binds
	}
	if l.startsWith("stats", "socket") {
		if at := strings.TrimPrefix(l.word(2), "unix@"); isSocketDir(path.Dir(at)) {
			r.cfg.Sockets = append(r.cfg.Sockets, model.Socket{Pos: l.pos, Path: at, Command: "show stat", Counter: statistics})
			return
		}
	}
	isOfFamily := func(family string) bool { return strings.HasPrefix(word, family) }
	if !slices.Contains(globalKeywords, word) && !slices.ContainsFunc(globalFamilies, isOfFamily) {
		r.unknownKeyword(l, word, slices.Concat(globalKeywords, sectionWords))
		return
	}
	switch word {
	case "log", "log-tag", "log-send-hostname":
		r.unread(l, reading.ReasonLog)
	case "maxconn", "ulimit-n", "maxsslconn":
		r.unread(l, reading.ReasonLimits)
	case "user", "group", "uid", "gid", "chroot", "pidfile", "daemon", "stats", "ca-base", "crt-base":
		r.unread(l, reading.ReasonFiles)
	default:
		r.unread(l, reading.ReasonSpeed)
	}
}

// isSocketDir reports whether a directory may be dedicated to sockets, because nothing else needs it.
func isSocketDir(dir string) bool {
	shared := dir == "/var/run" || dir == "/var/lib"
	return path.IsAbs(dir) && strings.Count(dir, "/") > 1 && !shared
}

// checkUnusedACL reports an ACL that no line of its section uses.
func (r *reader) checkUnusedACL(s section, l statement) {
	name := l.word(1)
	if r.words[s.pos][name] {
		return
	}
	if !r.reportedACLs[name] {
		r.reportedACLs[name] = true
		r.problem(model.Problem{
			Pos: l.pos, Effect: model.Inert,
			Text:    fmt.Sprintf("ACL %s is not used in this section", name),
			Instead: "a rule with if " + name,
		})
	}
}

// permanentOptions are the options that cannot be negated: once set in defaults, they stay on.
var permanentOptions = strings.Fields(`forwardfor httpchk httplog tcplog httpslog clf http-restrict-req-hdr-names
ldap-check external-check mysql-check originalto pgsql-check redis-check smtpchk spop-check ssl-hello-chk
tcp-check tcpka`)

// readNegatedOption reports an option that cannot be negated.
func (r *reader) readNegatedOption(l statement) {
	name := l.word(2)
	if _, known := knownOptions[name]; !known {
		r.option(l, name)
		return
	}
	if slices.Contains(permanentOptions, name) {
		r.problem(model.Problem{
			Pos: l.pos, Effect: model.Rejected,
			Text:    fmt.Sprintf("HAProxy 2.6 does not allow \"no\" before option %s", name),
			Instead: "another defaults section without that option",
		})
	}
}
