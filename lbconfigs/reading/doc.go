// Package reading is what the readers of all balancers share: the Balancer that each of them is to the table,
// files and texts with positions, YAML and TOML as trees, reasons why a line promises nothing, and what is
// wrong with hosts, certificates and ciphers whoever names them. It knows no balancer's words: a helper that
// one reader alone uses belongs into that reader's folder. Imports: the documents and source. What a second
// balancer needs comes here, with a test that names no balancer.
package reading
