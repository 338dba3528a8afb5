// Package adopt holds tests of living together with real registries in one data
// directory: Debian's docker-registry 2.8 and distribution 3.
package adopt
