// Package limits holds the checks on how much is let through: rates and requests in flight per key, and
// connections and queues per server. How large one request may be, and how long it may take, is in package
// requests. To add a law of limits: its trials in trials.go, its judge in a file of its own, and a mutant in
// fixtures that it refutes. The package must not import another family.
package limits
