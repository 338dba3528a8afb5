// Package operate tests what whoever looks after a registry sees and does, beside
// the real registry:2: health checks, the debug listener, metrics, and trees that
// it is to go on with.
package operate
