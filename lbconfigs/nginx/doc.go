// Package nginx reads nginx.conf and what it includes, with every default and habit of nginx that a promise
// depends on. It is no general parser (crossplane is, which checks contexts and arguments), and it knows
// neither checks nor runs. A new directive: read it in the file of its subject (pools, servers, locations,
// policies, timeouts, logs), give it an empty reason in silent.go, and what nginx refuses or ignores about it
// a Problem in problems.go. A configuration that comes with lbproof is a folder in builtin.
package nginx
