// Package races lets clients of all kinds loose on the built berth, on the same
// few repositories and the same content, while garbage is collected without any
// grace: whatever anybody sees must be whole and right at that moment. It consists
// of tests only, and must not know how Berth is made.
package races
