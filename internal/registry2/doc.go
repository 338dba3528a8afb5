// Package registry2 is Berth being registry:2: it reads what registry:2 is
// configured with and says it in Berth's own words, as overlays of package
// config with notes for the operator.
//
// The file and the REGISTRY_* variables become one tree, by registry:2's rules, in
// which every value knows where it was set. What becomes of each key stands in
// keys.txt; docs/registry2.md is written from it.
//
// What would be dangerous to ignore (another storage driver, another way to log
// in, being a mirror) stops the start. What is merely not needed or not there is
// named in a note, without its value, which may be a secret.
//
// The package must not know how a registry works: it translates, and hands on.
package registry2

// Mode is the name that Berth was called by, which decides some defaults.
type Mode int

const (
	// Berth is a server started as "berth serve".
	Berth Mode = iota
	// Registry is a server started as "registry", in the place of registry:2.
	Registry
)
