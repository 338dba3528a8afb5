// Package berth is a container registry to embed: everything that the berth
// command serves, as an http.Handler.
//
//	cfg := config.Default()
//	cfg.Data = "/srv/registry"
//	srv, err := berth.Open(ctx, berth.Options{Config: cfg})
//	if err != nil { … }
//	defer srv.Close()
//	go srv.Run(ctx)
//	http.ListenAndServe("127.0.0.1:5000", srv)
//
// Open connects to the storage and starts nothing. Run does what has to be done
// beside requests: it collects garbage and writes snapshots; without it the
// registry serves all the same, and grows. ListenAndServe does all of it, with
// listeners, TLS and shutdown as configured.
//
// A data directory belongs to one Server at a time.
//
// The package and package config are version 0: they may change between minor
// versions, and the changelog says so when they do.
package berth
