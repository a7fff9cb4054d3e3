// Package requests holds the checks that a single request decides: routes, conditions, headers, TLS, access, bodies,
// redirects, timeouts, fallbacks and the balancer's own responses. Most of them consist of probes: a request and the
// response that the configuration promises. Claims that need many requests belong to the other families.
//
// To add a check, write a file with a check.Check that has Probes, add a line to the table of package checks, and
// write down in fixtures/answers what an honest balancer answers. The package must not import another family.
package requests
