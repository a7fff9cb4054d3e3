// Package report is the fourth of the four documents: what follows from a history. It holds a verdict per claim, and
// summaries of phases, deliveries and containers that explain them. Package reports prints it.
package report
