//go:build !windows

package listen

import "syscall"

const outOfFiles = syscall.EMFILE
