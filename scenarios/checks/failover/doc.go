// Package failover holds the checks on what a balancer does when servers fail and return: passive and active
// health checks, retries, backups, reloads, names that are looked up again, and breakers. The deaths themselves
// are found by package outage. Who answers instead of a failed route is in package requests. To add a check: a
// file with a check.Check, one line in the table of package checks, and a mutant in fixtures that it refutes.
// The package must not import another family.
package failover
