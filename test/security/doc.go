// Package security holds the tests of docs/security.md that need the real
// program: what people with and without rights find out, what the log tells,
// what becomes of names that other systems stumble over, and what browsers and
// caches are told.
package security
