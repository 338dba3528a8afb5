package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// A process is one that is measured.
type process struct{ pid int }

// memory returns a line of /proc/PID/status in bytes: VmHWM is the peak.
func (p process) memory(name string) int64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(b)) {
		if value, ok := strings.CutPrefix(line, name+":"); ok {
			n, _ := strconv.ParseInt(strings.Fields(value)[0], 10, 64)
			return n << 10
		}
	}
	return 0
}

// resetPeak makes the peak begin anew, at what is used now.
func (p process) resetPeak() {
	_ = os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", p.pid), []byte("5"), 0)
}
