//go:build !linux

package main

import "time"

// cpu is only known on Linux.
func (process) cpu() time.Duration { return 0 }

// flush is only needed where something is measured.
func flush(string) error { return nil }

// forget is only needed where something is measured.
func forget(string) error { return nil }

// apart is of use on Linux only.
func apart(string) {}
