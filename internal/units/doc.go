// Package units formats quantities and lists for people: 20,000, 0.34 %, 7.2 s, 1 MiB (1,048,576 B), "a, b and c",
// and finds the known word nearest to a misspelled one. It knows nothing of configurations, plans or histories, and
// imports nothing of lbproof. Reports and checks call it, so that both print a quantity the same way. To add a format,
// add one function with its test; a format that only one check uses stays with that check.
package units
