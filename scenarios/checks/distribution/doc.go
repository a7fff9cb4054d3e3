// Package distribution holds the checks on who gets what: weights, least connections, hashes, random choice,
// splits, sticky sessions, mirrors and drained servers. What happens when a server fails is in package failover,
// and how much a server may get at once in package limits. To add a check: a file with a check.Check, one line
// in the table of package checks, and a mutant in fixtures that it refutes. The package must not import another
// family.
package distribution
