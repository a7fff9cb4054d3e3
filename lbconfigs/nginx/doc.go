// Package nginx reads nginx.conf and what it includes, with every default and behaviour of nginx that a claim depends
// on. It is not a general parser (crossplane is, which checks contexts and arguments), and it knows neither checks nor
// runs. To add a directive, read it in the file of its subject (pools, servers, locations, policies, timeouts, logs),
// give it an empty reason in unread.go, and report in problems.go what nginx rejects or ignores about it. The
// configurations that come with lbproof are folders in builtin.
package nginx
