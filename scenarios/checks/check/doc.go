// Package check is what all checks are made of: Check, Trial and Question, requests that take a route, keys and
// rotations, views of a history, and the texts and ids of claims. All of it is a pure function of its arguments.
// It holds no promise of its own: those are in the families (distribution, failover, limits, requests, traffic),
// and the table of all is in package checks. Outages as a history shows them are in package outage. Put here
// what two families need. What one family alone uses goes back up to that family.
package check
