// Package oci holds the vocabulary of a registry: repository names, tags,
// digests, manifests and error codes, as types that cannot be wrong.
//
// The fields of Repo, Tag and Digest are unexported, so outside this package
// the only way to hold one is to have parsed it. The package knows nothing of
// HTTP, of storage or of who is asking; it imports only the standard library.
//
// Terms are those of the OCI distribution specification
// (https://github.com/opencontainers/distribution-spec/blob/main/spec.md).
package oci
