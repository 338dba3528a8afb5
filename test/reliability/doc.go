// Package reliability takes the power, the disk, the database and the process
// away from the built berth while clients push to it, and compares what is left
// with a ledger of everything that was acknowledged. It consists of tests only,
// and must not know how Berth is made.
package reliability
