package main

import (
	"path"
	"slices"
	"strconv"
	"strings"
)

// cgroupMemory returns how much memory the container of this process may have, by
// the files that read reads; 0 if there is no limit or none is known.
func cgroupMemory(read func(name string) ([]byte, error)) int64 {
	groups, err := read("/proc/self/cgroup")
	if err != nil {
		return 0
	}
	var limit int64
	for _, file := range cgroupFiles(string(groups)) {
		text, err := read(file)
		if err != nil {
			continue // a container may not see the groups around its own
		}
		n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
		if err != nil || n <= 0 || n >= 1<<62 {
			continue // "max", or the number that says the same
		}
		if limit == 0 || n < limit {
			limit = n
		}
	}
	return limit
}

// cgroupFiles returns the files that hold limits of memory for the process with
// this /proc/self/cgroup: those of its groups in both versions, and of the groups
// that these are inside of.
func cgroupFiles(groups string) []string {
	var files []string
	for line := range strings.Lines(groups) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) != 3 {
			continue
		}
		root, name := "/sys/fs/cgroup", "memory.max"
		if parts[1] != "" {
			root, name = "/sys/fs/cgroup/memory", "memory.limit_in_bytes"
		}
		if parts[1] != "" && !slices.Contains(strings.Split(parts[1], ","), "memory") {
			continue
		}
		for dir := path.Join("/", parts[2]); ; dir = path.Dir(dir) {
			files = append(files, path.Join(root, dir, name))
			if dir == "/" {
				break
			}
		}
	}
	return files
}
