// Package history is the third of the four documents: what happened in a run. A Hit is a client's request, an Arrival
// is what a backend saw of it, a FaultWindow is an injected fault. Every verdict is a pure function of a History. The
// package is plain data; internal/folder writes and reads it.
package history
