// Package clients is Berth used as people use it: docker, podman, skopeo,
// buildah, crane, oras, regctl and helm push to the built berth, pull from it,
// list, delete and log in. It consists of tests only, and must not know how
// Berth is made.
package clients
