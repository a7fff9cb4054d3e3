// Package requests holds the checks on what one request decides: routes, conditions, headers, TLS, access,
// bodies, redirects, timeouts, fallbacks and the balancer's own answers. Most of these checks are questions: a
// request and the reply that the configuration promises. What takes many requests to see is in the other
// families. To add a check: a file with a check.Check that has Questions, one line in the table of package
// checks, and what an honest balancer answers in fixtures/answers. The package must not import another family.
package requests
