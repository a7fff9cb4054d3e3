// Package mutations changes the lines of a configuration that make claims: a number, a word, or the line itself. It
// starts nothing and decides nothing: the caller runs the mutations and sees which claims are refuted. It knows no
// balancer's notation, which is in the Edits of each; only plain numbers are changed for all. To change another
// parameter of a balancer, add an Edit to edits.go in its folder, and a line to its TestEdits.
package mutations
