// Package history is the third of the four documents: what happened in a run. Clients' requests are Hits, what backends saw of
// them Arrivals, and faults Marks. Everything that is judged is a pure function of a History.
// It is plain data; internal/folder writes and reads it.
package history
