// Package traefik reads Traefik's static file and the dynamic files of its file provider, in YAML or TOML. It reads no
// labels and no other provider, and knows neither checks nor runs. To add a key, add it to the schemas in keys.go
// (other keys are reported as unknown), and read it in the file of its part (entry points, routers, services,
// middlewares, rules). The configurations that come with lbproof are folders in builtin.
package traefik
