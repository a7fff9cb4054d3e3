// Package failover holds the checks of how a balancer handles servers that fail and return: passive and active health
// checks, retries, backups, reloads, name resolution and circuit breakers. Package outage finds the outages; fallback
// responses are in package requests.
// To add a check, add a file with a check.Check, a line in the table of package checks, and a mutant in fixtures that
// the check refutes. The package must not import another family.
package failover
