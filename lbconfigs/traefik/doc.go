// Package traefik reads Traefik's static file and the dynamic ones that its file provider names, YAML or TOML
// alike. It reads no labels and no other provider, and knows neither checks nor runs. A new key: add it to the
// tables of keys.go, or it is told as a stranger, and read it in the file of its part (entry points, routers,
// services, middlewares, rules). A configuration that comes with lbproof is a folder in builtin.
package traefik
