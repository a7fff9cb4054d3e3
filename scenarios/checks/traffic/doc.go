// Package traffic holds the checks on what all requests of a run decide: none is lost or doubled, connections
// are kept, counters and logs tell the truth, nothing restarts, and expectations of a scenario are met. It also
// sums up phases. What a single request decides is in package requests. To add a check: a file with a
// check.Check, one line in the table of package checks, and a mutant in fixtures that it refutes. The package
// must not import another family.
package traffic
