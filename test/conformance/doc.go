// Package conformance runs the official conformance suite of the OCI
// distribution spec against the built berth, with every option of the suite on.
// It consists of tests only, and must not know how Berth is made.
package conformance
