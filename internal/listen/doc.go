// Package listen holds what stands between the network and a handler: sockets,
// TLS certificate files, time limits, forwarded headers and shutdown.
//
// It must not know what is served: no repository, no user and no configuration
// file reaches it. It never weakens what it is told (a certificate that can't
// be read is an error, not plain http) and it keeps the kernel's sendfile path
// open for handlers that hand a file to their http.ResponseWriter.
package listen
