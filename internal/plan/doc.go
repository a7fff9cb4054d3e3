// Package plan is the second of the four documents: what a run does. It names the containers of the stack, the phases
// with their requests, the faults and when they come, and the claims that are to be decided.
// It is plain data that is read from plan.json, and so never trusted: Validate says what may not be in it.
// A new field needs a comment with its unit, and a bound in Validate where somebody else's value could do harm.
package plan
