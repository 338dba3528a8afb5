// Package edge tests what the registry does towards the outside with the real
// programs: certificates from an ACME server, and tokens of a token server, with
// docker and with the registries that it must agree with.
package edge
