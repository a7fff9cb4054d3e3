// Package limits holds the checks on how much is admitted: rates and requests in flight per key, and requests and
// queues per server. The size and duration of a single request are in package requests. To add a law: its requirements
// in requirements.go, its judge in a file of its own, and a mutant in fixtures that it refutes. The package must not
// import another family.
package limits
