// Package check is the kit that all checks are made of: Check, Requirement and Probe, requests that select a route,
// keys and rotations, views of a history, and the texts and ids of claims. Everything in it is a pure function.
// The checks themselves are in the families (distribution, failover, limits, requests, traffic), and package checks has
// the table of all. Package outage finds the outages in a history.
// Put here what two families need; what only one family uses belongs to that family.
package check
