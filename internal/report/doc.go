// Package report is the fourth of the four documents: what follows from a history. It holds a verdict per claim, and sums of
// phases, faults and containers that explain them. The formats in which it is printed are in the package reports.
package report
