// Package model is the first of the four documents: what a configuration says, in terms that are no balancer's own. A
// reader fills it in, with the line of everything; it is stored in plan.json, so that a run can be judged without the
// reader. It holds plain data with safe zero values, does no I/O and imports none of our packages.
// A behaviour that no balancer had before is a new value here, and a law in one family of checks.
package model
