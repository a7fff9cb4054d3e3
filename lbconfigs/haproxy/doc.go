// Package haproxy reads haproxy.cfg, or the *.cfg of a folder, as HAProxy 2.6 does: words, sections with their
// defaults, rules in their order. It knows neither checks nor runs; what HAProxy itself refuses is told as a
// Problem and read past. A new keyword: read it in the file of its section (frontends, backends, pools, rules,
// checks), and give it an empty reason in keywords.go. A configuration that comes with lbproof is a folder in
// builtin.
package haproxy
