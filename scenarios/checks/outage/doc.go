// Package outage finds the deaths and illnesses of servers in a history: when each was dead, until when it was
// asked, when it was back, and when servers were slow. It judges nothing; failover and others do, by what it
// finds. Which faults refuse, hang, vanish or lie stands in fault.go; a new fault belongs to exactly one of
// these classes. To add what a check needs to know of an outage: a field or a method of the episode.
package outage
