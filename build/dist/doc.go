// Command dist makes what a release consists of, without docker and without
// anything but Go and git:
//
//   - the program for six platforms, each in an archive with its licenses,
//   - the container image as archives for `docker load`, one per processor, and
//     as one OCI archive for all of them,
//   - SHA256SUMS over all of it.
//
// The same sources give the same bytes on every machine: nothing of the machine,
// the clock or the folder goes in. The date of everything is SOURCE_DATE_EPOCH,
// or that of the last commit.
//
//	go run ./build/dist                    everything, in dist/
//	go run ./build/dist -tree DIR          the files of the image, for the Dockerfile
//
// The package must not know what the program does; it knows how it is called.
package main
