// Package config holds Berth's configuration: one documented struct, its
// defaults, the sources it is read from (a strict YAML file, BERTH_* variables,
// command line flags), and the rules that a whole configuration must obey.
//
// The doc comments of [Config] and of the structs inside it are the manual:
// docs/config.md is generated from them ("go generate ./config"). To add a key,
// add a field with a yaml tag and a doc comment, its default in [Default], its
// rule in [Config.Validate], and a good or bad file in testdata.
//
// Every value remembers where it was set, so that a message can say so, and
// all mistakes are reported together as [Problems], each with its key, its
// origin and the way to mend it.
//
// The package must not know what the values are used for: it opens no
// certificate, no password file and no socket, and nothing but the
// configuration file itself is read here. registry:2's own files and REGISTRY_*
// variables are translated elsewhere, into an [Overlay].
package config

//go:generate go test . -count=1 -run ^TestManual$ -update
