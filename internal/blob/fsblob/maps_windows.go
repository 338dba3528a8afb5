package fsblob

import "os"

func mapsShared(*os.File) bool { return true }
