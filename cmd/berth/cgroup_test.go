package main

import (
	"io/fs"
	"strings"
	"testing"
)

func TestCgroupMemory(t *testing.T) {
	for _, test := range []struct {
		name  string
		files map[string]string
		want  int64
	}{
		{"not Linux", nil, 0},
		{"no limit", map[string]string{"/proc/self/cgroup": "0::/\n"}, 0},
		{"version 2 in a container", map[string]string{
			"/proc/self/cgroup": "0::/\n", "/sys/fs/cgroup/memory.max": "134217728\n",
		}, 128 << 20},
		{"version 2, the group around has less", map[string]string{
			"/proc/self/cgroup": "0::/system.slice/berth.service\n",
			"/sys/fs/cgroup/system.slice/berth.service/memory.max": "max\n",
			"/sys/fs/cgroup/system.slice/memory.max":               "67108864\n",
		}, 64 << 20},
		{"version 1 in a container, which does not see the path of its group", map[string]string{
			"/proc/self/cgroup":                           "5:cpu,cpuacct:/docker/abc\n4:memory:/docker/abc\n",
			"/sys/fs/cgroup/memory/memory.limit_in_bytes": "268435456\n",
		}, 256 << 20},
		{"version 1 without a limit", map[string]string{
			"/proc/self/cgroup":                           "4:memory:/\n0::/\n",
			"/sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
		}, 0},
		{"outside of what is seen", map[string]string{
			"/proc/self/cgroup": "0::/../../other\n", "/sys/fs/cgroup/memory.max": "1048576",
		}, 1 << 20},
	} {
		read := func(name string) ([]byte, error) {
			if text, ok := test.files[name]; ok {
				return []byte(text), nil
			}
			return nil, fs.ErrNotExist
		}
		if got := cgroupMemory(read); got != test.want {
			t.Errorf("%s: %d, want %d", test.name, got, test.want)
		}
	}
}

// FuzzCgroupFiles holds that no path leads out of where limits are.
func FuzzCgroupFiles(f *testing.F) {
	f.Add("4:memory:/docker/abc\n0::/\n")
	f.Add("0::/../../x\n:\n1:memory,cpu:")
	f.Fuzz(func(t *testing.T, groups string) {
		for _, file := range cgroupFiles(groups) {
			if !strings.HasPrefix(file, "/sys/fs/cgroup/") || strings.Contains(file, "/../") {
				t.Errorf("%q leads to %s", groups, file)
			}
		}
	})
}
