// Package memory measures how much memory the built berth needs. It consists of
// tests only, and must not know how Berth is made.
package memory
