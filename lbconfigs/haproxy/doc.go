// Package haproxy reads haproxy.cfg, or the *.cfg files of a folder, as HAProxy 2.6 does: words, sections with their
// defaults, rules in order. It knows neither checks nor runs; what HAProxy itself rejects becomes a Problem and is
// skipped. To add a keyword, read it in the file of its section (frontends, backends, pools, rules, healthchecks), and
// give it an empty reason in keywords.go. The configurations that come with lbproof are folders in builtin.
package haproxy
