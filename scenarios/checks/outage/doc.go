// Package outage finds the outages of servers in a history: when a server was down, when it got its last request, when
// it was back, and when servers were slow. It judges nothing; failover and other families do.
// fault.go groups the faults by what clients see; a new fault belongs to exactly one group.
// To add what a check needs to know about an outage, add a field or a method of Outage.
package outage
