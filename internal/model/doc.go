// Package model is the first of the four documents: what a configuration says, in balancer-neutral terms. A reader
// fills it in, with the line of every part; it is stored in plan.json, so that a run can be judged without the reader.
// It holds plain data with safe zero values, does no I/O and imports no package of lbproof. To describe behaviour that
// no balancer had before, add a value here and a law in one family of checks.
package model
