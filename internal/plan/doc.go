// Package plan is the second of the four documents: what a run does. It lists the nodes of the stack, the phases of
// traffic with their requests, the faults with their times, and the claims to decide.
// It is plain data read from plan.json, which is never trusted: Validate reports what a plan must not contain.
// A new field needs a comment with its unit, and a bound in Validate if a foreign value could do harm.
package plan
