// Package lb holds the nouns that every other package speaks in: plain data with safe zero values.
// It does no I/O, knows no balancer and no statistics, and uses the standard library only, beside golang.org/x/mod, which knows what names a module.
// A new noun belongs here when two packages need it; a new field needs a comment with its unit.
package lb
