package realtest

import (
	"bufio"
	"os"
	"os/exec"
	"strings"
	"syscall"
)

func tether(cmd *exec.Cmd, sig syscall.Signal) {
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Pdeathsig: sig,
		Setpgid:   true, // ^C in the terminal is for the test, which then stops it
	}
}

// unmountBelow unmounts what is mounted below dir, the innermost first.
func unmountBelow(dir string) error {
	f, err := os.Open("/proc/self/mounts")
	if err != nil {
		return err
	}
	defer f.Close()
	var points []string
	for s := bufio.NewScanner(f); s.Scan(); {
		if fields := strings.Fields(s.Text()); len(fields) > 1 && strings.HasPrefix(fields[1], dir+"/") {
			points = append(points, fields[1])
		}
	}
	for i := len(points) - 1; i >= 0; i-- {
		if err := syscall.Unmount(points[i], syscall.MNT_DETACH); err != nil {
			return &os.PathError{Op: "unmount", Path: points[i], Err: err}
		}
	}
	return nil
}
