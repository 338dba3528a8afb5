package listen

import "golang.org/x/sys/windows"

const outOfFiles = windows.WSAEMFILE

// smallSegments does nothing here.
func smallSegments(uintptr) {}
