// Package diff sends the same requests to real registries and to Berth and
// compares the answers. What may differ stands in its table, with the reason,
// and in docs/differences.md. All of it is in its tests.
package diff
