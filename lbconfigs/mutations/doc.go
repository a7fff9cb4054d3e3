// Package mutations changes the lines of a configuration that make promises: one number, one word, or the line
// itself. It starts nothing and decides nothing: whether a run notices a change is for who runs it. It knows
// no balancer's notation: that is in the Edits of each, and only numbers with and without a unit are changed
// for all. To change another parameter of a balancer, add an Edit to the edits.go in its folder, and a line to
// its TestEdits.
package mutations
