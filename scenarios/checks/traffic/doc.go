// Package traffic holds the checks that all requests of a run decide: none is lost or duplicated, connections are
// reused, counters and logs are correct, nothing restarts, and the scenario's expectations are met. It also sums up
// phases and delivery. Claims that a single request decides belong to package requests.
//
// To add a check, write a file with a check.Check, add a line to the table of package checks, and add a mutant to
// fixtures that it refutes. The package must not import another family.
package traffic
