// Package distribution holds the checks on which server gets which request: weights, least connections, hashes, random
// choice, splits, sticky sessions, mirrors and drained servers. Behaviour after a server fails is in package failover,
// limits per server are in package limits. To add a check: a file with a check.Check, one line in the table of package
// checks, and a mutant in fixtures that it refutes. The package must not import another family.
package distribution
