// Package reading is what the readers of all balancers share: the Balancer that each of them exports, files and texts
// with positions, YAML and TOML as trees, reasons why a line makes no claim, and problems with hosts, certificates and
// ciphers that no balancer is spared. It knows no balancer's directives: a helper that one reader uses belongs in that
// reader's folder. What a second balancer needs comes here, with a test that names no balancer.
package reading
