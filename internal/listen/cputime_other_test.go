//go:build !unix

package listen

func cpuTime() int64 { return 0 }
