package listen

import "golang.org/x/sys/windows"

const outOfFiles = windows.WSAEMFILE
