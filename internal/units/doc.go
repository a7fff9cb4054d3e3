// Package units writes numbers, shares, spans of time and lists as people read them: 20,000, 0.34 %, 1m, "a, b
// and c". It knows nothing of configurations, plans or histories, and imports nothing of lbproof. Reports and
// checks print the same quantity the same way because both ask this package. To add a form: one function with
// its test; a form that only one check uses stays with that check.
package units
